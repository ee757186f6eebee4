import hashlib
import os

import msgspec
import pytest
from msgspec import Struct

from ltbench import LTBenchError, protocol
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import installed

PINNED = {
    ("balancing-the-scales", 1): "d22be369c1f84cbc",
    ("openml-imbalanced", 1): "0347a73c08e43bbe",
    ("tabular-embedded", 1): "b51fad621476d5ef",
    ("tabular-keel", 1): "19aca1333f7f1407",
    ("tabular-keel-30", 1): "634c628670ed2ee9",
    ("tabular-uci", 1): "848f8eadf10a3ba0",
    ("cifar10-jpeg-lt-10-medium", 1): "f8ce7046144bea8a",
    ("cifar10-jpeg-lt-100-medium", 1): "5131e3c57cd698ef",
    ("cifar10-jpeg-lt-200-medium", 1): "05f68e701c911a77",
    ("cifar10-jpeg-lt-50-medium", 1): "684c2dafb4a362ce",
    ("cifar10-lt-10-medium", 1): "973016942e3cbc28",
    ("cifar10-lt-100-medium", 1): "b8f45691528ea087",
    ("cifar10-lt-200-medium", 1): "3c51eb2e9de01412",
    ("cifar10-lt-50-medium", 1): "e3827306576907c3",
    ("cifar10-jpeg-lt-10-short", 1): "d2e01cf487dbdf49",
    ("cifar10-jpeg-lt-10", 1): "f1c3e74061658b48",
    ("cifar10-jpeg-lt-100-short", 1): "816024edcc7dd52d",
    ("cifar10-jpeg-lt-100", 1): "8c3f47f7b7091d1d",
    ("cifar10-jpeg-lt-200-short", 1): "9b278d088da651cc",
    ("cifar10-jpeg-lt-200", 1): "3ae8083127dcbe99",
    ("cifar10-jpeg-lt-50-short", 1): "5b87ad9457e3c976",
    ("cifar10-jpeg-lt-50", 1): "222b2312f4d4c652",
    ("cifar10-lt-10-short", 1): "a9e152bda6c93db7",
    ("cifar10-lt-10", 1): "cd4f3cc83144e72c",
    ("cifar10-lt-100-short", 1): "65bdf8d1df60ea39",
    ("cifar10-lt-100", 1): "107e4f6ae3c5a85f",
    ("cifar10-lt-200-short", 1): "e6b8f79c4ec0e93f",
    ("cifar10-lt-200", 1): "1a59824a5961edf8",
    ("cifar10-lt-50-short", 1): "747a77b37b3e13e4",
    ("cifar10-lt-50", 1): "f15a13ab55c6c43c",
    ("cifar10-step-10", 1): "ce4787bf78dced77",
    ("cifar10-step-100", 1): "212e58763a8609c3",
    ("cifar10-step-200", 1): "21e54e5bfdd16669",
    ("cifar10-step-50", 1): "f9cd9821d3d3bda6",
    ("cifar100-lt-10-short", 1): "7c7908c452c46d1a",
    ("cifar100-lt-10", 1): "a57759cd374df472",
    ("cifar100-lt-100-short", 1): "d47197910180a52b",
    ("cifar100-lt-100", 1): "8d60b1dcbba8fd9f",
    ("cifar100-lt-200-short", 1): "4884d2923db16696",
    ("cifar100-lt-200", 1): "214dd52d1e4cb439",
    ("cifar100-lt-50-short", 1): "5f8e0d9ea01521c2",
    ("cifar100-lt-50", 1): "55478752e4b2b8c3",
    ("cifar100-step-10", 1): "7441912b87c1eb57",
    ("cifar100-step-100", 1): "0d6a4ede1ad91aa7",
    ("cifar100-step-200", 1): "85c6f70b442e5656",
    ("cifar100-step-50", 1): "77c6534f3e20c232",
    ("digits-balanced", 1): "218b9253bb81b741",
    ("digits-lt", 1): "dfb5b2ad05a5a658",
    ("digits-detection-lt", 1): "717b1a8e17ca08c9",
    ("digits-detection-sigmoid-lt", 1): "3450951ec0c04a7f",
    ("lvis-detection", 1): "4f882e6fddc3da2c",
    ("mnist-detection-lt", 1): "d1d6d34884af3748",
    ("celeba-groups", 1): "e80c759de4728f21",
    ("cifar10-domains-short", 1): "9f94c6f1055f733f",
    ("cifar10-domains", 1): "d0e28af41af8e081",
    ("cifar10-jpeg-domains-short", 1): "3d798be758cf9407",
    ("digits-domains-held", 1): "bf2a8b73bd3eeb76",
    ("digits-confounded", 1): "bf64d0b67028268f",
    ("digits-domains", 1): "89a524adfbe98f32",
    ("digits-bags-lt", 1): "74621d1190132a33",
    ("digits-bags-lt-short", 1): "50c038ce7fb58ea8",
    ("mnist-bags-lt", 1): "3140d38169a49343",
    ("bbc-lt", 1): "1c6083c78e6607db",
    ("bbc-minilm-lt", 1): "f1c8a035f9296436",
    ("phrases-lt", 1): "c0d46b6b52c604ee",
    ("digits-finetune", 1): "e2b79d37ebecbf02",
    ("digits-finetune-same", 1): "740877f95749b5cd",
    ("digits-groups-validation", 1): "302b694eccd81ba3",
    ("digits-groups", 1): "5a8c8a1dd9bf4b7d",
    ("domainnet-mlt", 1): "94300c45dfb3fb35",
    ("mnist-domains", 1): "486c673d8699599f",
    ("mnist-groups", 1): "15c1d7ba1d284889",
    ("officehome-mlt", 1): "3df8ac75b0736134",
    ("pacs-mlt", 1): "63fd992da51c0bb3",
    ("rotated-mnist-mlt", 1): "5503d5aec68fb6d2",
    ("terraincognita-mlt", 1): "6d635098b7d6be69",
    ("vlcs-mlt", 1): "def42e327765224e",
    ("waterbirds-groups", 1): "25585859ad5cfb6b",
    ("cifar10-federated-lt-10", 1): "58dc95d05cb41396",
    ("cifar10-federated-lt-100", 1): "7023232140aa3264",
    ("cifar10-federated-lt-50", 1): "42b8bb408419d5c6",
    ("cifar10-jpeg-federated-short", 1): "180c24f23af696e1",
    ("cifar100-federated-lt-100", 1): "4b680e89831d137b",
    ("digits-federated", 1): "06e78410995f6897",
    ("digits-federated-01", 1): "84e2266e6a5792cc",
    ("digits-peers", 1): "24450b84663b6142",
    ("digits-peers-none", 1): "ae1a8a3d765ca78c",
    ("digits-peers-turned", 1): "5a23d66d878b6e69",
    ("mnist-federated", 1): "0e9252398d04361d",
    ("cifar10-jpeg-incremental-short", 1): "1e9c33951a1524be",
    ("cifar100-incremental-b0-10", 1): "bda49bddc5e2eb3a",
    ("cifar100-incremental-b50-10-conventional", 1): "087e16b8c73cb143",
    ("cifar100-incremental-b50-10-ordered", 1): "0874677667b24743",
    ("cifar100-incremental-b50-10-shuffled", 1): "5423b989c603cade",
    ("cifar100-incremental-b50-5-conventional", 1): "b760436ead319195",
    ("cifar100-incremental-b50-5-ordered", 1): "bcc15c6677ae7834",
    ("cifar100-incremental-b50-5-shuffled", 1): "fa47ba70ec2774f8",
    ("digits-incremental", 1): "54ace005ad8c9f2b",
    ("digits-incremental-base5", 1): "e81ed73e4372e2a2",
    ("digits-incremental-none", 1): "b52d61e4205bec27",
    ("digits-incremental-ordered", 1): "df9d842a42c1aa0f",
    ("mnist-incremental", 1): "05bc7d8690fbedd0",
    ("abalone-dir", 1): "fd749f2a1154262a",
    ("agedb-dir", 1): "69ed99d46cc33664",
    ("digits-rotation-lt", 1): "30611939b99dbdf0",
    ("imdb-wiki-dir", 1): "a95e9fc3053cac5f",
    ("mnist-rotation-lt", 1): "03838a648c9464c0",
    ("wine-quality-dir", 1): "5126393ab7d5da7c",
    ("coco-lt", 1): "7b4e540a864e9325",
    ("digits-scenes-lt", 1): "7a8475753811e816",
    ("digits-scenes-lt-partial", 1): "99c1ae375a9a35cb",
    ("digits-sequences-lt", 1): "00baba4ee7857f41",
    ("japanese-vowels-lt", 1): "fe7f3e483e4f4f9e",
    ("mnist-scenes-lt", 1): "f7d5f84f8f83648f",
    ("voc-lt", 1): "780c7f613bfb196f",
    ("cifar10-jpeg-robust-short", 1): "a033d08a52869cc1",
    ("cifar10-robust-lt-50", 1): "5f06bbae1b38400f",
    ("cifar100-robust-lt-10", 1): "3f0cbe35fda82a13",
    ("digits-robust", 1): "a61796d63fc2616e",
    ("mnist-robust", 1): "c36b4d3c98732ea9",
    ("cifar10-jpeg-semi-consistent-short", 1): "c35d0666aff04021",
    ("cifar10-jpeg-semi-reversed-short", 1): "951f0e4dac2c29f1",
    ("cifar10-jpeg-semi-uniform-short", 1): "4ae326d5085ff610",
    ("cifar10-semi-lt-consistent", 1): "e983f3d4da3136f2",
    ("cifar10-semi-lt-reversed", 1): "aac5a949b8860868",
    ("cifar10-semi-lt-uniform", 1): "bacd45f3788c0ad0",
    ("cifar100-semi-lt", 1): "336c81ac59e1edd3",
    ("digits-clusters-10", 1): "e67d1eaca4594600",
    ("digits-discovery-5", 1): "46f097316836848e",
    ("mnist-clusters-100", 1): "7ef47447c94f038e",
    ("cifar10-clusters-100", 1): "e2c568ba5a976641",
    ("digits-semi-consistent", 1): "b810fff8007d970d",
    ("digits-semi-reversed", 1): "468972b30894b0c9",
    ("digits-semi-uniform", 1): "4680c1f75787e0ad",
    ("digits-semi-unknown", 1): "6357ea441e618c09",
    ("digits-semi-unknown", 2): "af706cacb7e79718",
    ("mnist-semi-consistent", 1): "0f848539aefc8dfe",
    ("mnist-semi-reversed", 1): "bfe2d4aab83208c7",
    ("mnist-semi-uniform", 1): "86e8549916ad1da9",
    ("compress-cifar10-jpeg-n10-r100", 1): "cf8f2414af5936ad",
    ("compress-cifar10-jpeg-n10-r100-short", 1): "449d5ebc49ca93ee",
    ("compress-cifar10-jpeg-n10-r100-short-noise", 1): "612b46c1f77c1e05",
    ("compress-cifar10-jpeg-n100-r100", 1): "0b5f2a5b1e4bbed6",
    ("compress-cifar10-jpeg-n20-r100", 1): "7d49d96fc74fb03a",
    ("compress-cifar10-jpeg-n50-r100-imagenet", 1): "be604e1dc66b057c",
    ("compress-cifar10-jpeg-n50-r100", 1): "a51e89166767dfc2",
    ("compress-cifar10-jpeg-n50-r100-short", 1): "1084687656e26070",
    ("compress-cifar10-jpeg-n50-r100-short-noise", 1): "481b62e5575e618c",
    ("compress-cifar10-jpeg-resnet-n10-r100", 1): "267c683eedf7298d",
    ("compress-cifar10-jpeg-resnet-n100-r100", 1): "833452dd1092a165",
    ("compress-cifar10-jpeg-resnet-n20-r100", 1): "a0345f5dbe20d2cc",
    ("compress-cifar10-jpeg-resnet-n50-r100", 1): "cb8884e34c8eab2a",
    ("compress-cifar10-n10-r100", 1): "e5788fe7f94c33d4",
    ("compress-cifar10-n100-r100", 1): "c4d834e0c91efa51",
    ("compress-cifar10-n20-r100", 1): "f81cc5c7b504d726",
    ("compress-cifar10-n50-r100-cifar100", 1): "9120f90af425761c",
    ("compress-cifar10-n50-r100", 1): "4f96a8f6400bf0da",
    ("compress-cifar10-resnet-n10-r100", 1): "a2772415e2e307ec",
    ("compress-cifar10-resnet-n100-r100", 1): "0108727a3ee85cf4",
    ("compress-cifar10-resnet-n20-r100", 1): "a5978555ec1b6169",
    ("compress-cifar10-resnet-n50-r100", 1): "87b0e1d38c4c8480",
    ("compress-digits-noise", 1): "b7add024cc990f56",
    ("compress-digits-resnet", 1): "509e5576a7f48aa6",
    ("compress-digits", 1): "5d001a9b889bb0bd",
    ("compress-mnist-n10-r100", 1): "7081c1ca716b8fbd",
    ("compress-mnist-n10-r20", 1): "4f4ae34af40aacbf",
    ("compress-mnist-n5-r100", 1): "9184be8c1865e86a",
    ("compress-mnist-n5-r20", 1): "c07a6bca1ee3b766",
    ("compress-mnist-n50-r100", 1): "6d07477a90849db6",
    ("compress-mnist-n50-r20", 1): "4821e7859b8e7f99",
    ("distill-cifar10-jpeg-lt-10-ipc10", 1): "1db24505f7caaac6",
    ("distill-cifar10-jpeg-lt-10-ipc10", 2): "314e80073dcc9010",
    ("distill-cifar10-jpeg-lt-10-ipc10-short", 1): "daa4657c0d7d13a6",
    ("distill-cifar10-jpeg-lt-100-ipc10", 1): "c2039cb6b0ba35c0",
    ("distill-cifar10-jpeg-lt-100-ipc10", 2): "d625f0e23b2d7ac6",
    ("distill-cifar10-jpeg-lt-200-ipc10", 1): "9e164d33d464e344",
    ("distill-cifar10-jpeg-lt-200-ipc10", 2): "44b9b8e2f05bacb2",
    ("distill-cifar10-jpeg-lt-200-ipc10-short", 1): "e79e777c0c907053",
    ("distill-cifar10-jpeg-lt-50-ipc10", 1): "32f0f0915da66e33",
    ("distill-cifar10-jpeg-lt-50-ipc10", 2): "69e867ed7d5e73dd",
    ("distill-cifar10-lt-10-ipc10", 1): "dde893cdb252514f",
    ("distill-cifar10-lt-10-ipc10", 2): "9d2d883c9ff5a45f",
    ("distill-cifar10-lt-10-ipc20", 1): "1dcd6cd7a9a9686d",
    ("distill-cifar10-lt-10-ipc20", 2): "3dcf830ea379e416",
    ("distill-cifar10-lt-10-ipc50", 1): "3d73159e02ba0f7d",
    ("distill-cifar10-lt-10-ipc50", 2): "8a4783729489eb13",
    ("distill-cifar10-lt-100-ipc10", 1): "7d40766a8a443ca3",
    ("distill-cifar10-lt-100-ipc10", 2): "452ad449026fcc46",
    ("distill-cifar10-lt-100-ipc20", 1): "43a37a4693f629e3",
    ("distill-cifar10-lt-100-ipc20", 2): "40b308b2477449e2",
    ("distill-cifar10-lt-100-ipc50", 1): "59e34ca7da3817aa",
    ("distill-cifar10-lt-100-ipc50", 2): "190bc4bea1c9d41d",
    ("distill-cifar10-lt-200-ipc10", 1): "4580b17e561823b1",
    ("distill-cifar10-lt-200-ipc10", 2): "e3adb083a3f40732",
    ("distill-cifar10-lt-200-ipc20", 1): "465c6a4ff717bc2c",
    ("distill-cifar10-lt-200-ipc20", 2): "8d2db923deef53bd",
    ("distill-cifar10-lt-200-ipc50", 1): "2aa3dbfb44f93104",
    ("distill-cifar10-lt-200-ipc50", 2): "bbb1ada7dc3f852e",
    ("distill-cifar10-lt-50-ipc10", 1): "cb6c07521252fa76",
    ("distill-cifar10-lt-50-ipc10", 2): "d2b09763cb9a1191",
    ("distill-cifar10-lt-50-ipc20", 1): "1c0feaacb7a535c7",
    ("distill-cifar10-lt-50-ipc20", 2): "b4a5d6e8a2130037",
    ("distill-cifar10-lt-50-ipc50", 1): "5d1aedc6c0f3476e",
    ("distill-cifar10-lt-50-ipc50", 2): "04f941e41abd9b2c",
    ("distill-cifar100-lt-10-ipc10", 1): "814892f11e411bad",
    ("distill-cifar100-lt-10-ipc10", 2): "d256c9af1a8c3ec5",
    ("distill-cifar100-lt-10-ipc20", 1): "75b9a0aa6a6ab5cc",
    ("distill-cifar100-lt-10-ipc20", 2): "6554d5e08da7110f",
    ("distill-cifar100-lt-10-ipc50", 1): "63169665be887926",
    ("distill-cifar100-lt-10-ipc50", 2): "0f222d89a6797f1d",
    ("distill-cifar100-lt-100-ipc10", 1): "b69611371dd4757c",
    ("distill-cifar100-lt-100-ipc10", 2): "02b0af2b2aef5d11",
    ("distill-cifar100-lt-100-ipc20", 1): "317c90ef23d6b766",
    ("distill-cifar100-lt-100-ipc20", 2): "f7d28ea0b642b3c0",
    ("distill-cifar100-lt-100-ipc50", 1): "1cece7f46f509f6d",
    ("distill-cifar100-lt-100-ipc50", 2): "0a54681dea0c7f98",
    ("distill-cifar100-lt-200-ipc10", 1): "01c79731b4fc042e",
    ("distill-cifar100-lt-200-ipc10", 2): "a77a1de3aee97634",
    ("distill-cifar100-lt-200-ipc20", 1): "0f6916a5ced62364",
    ("distill-cifar100-lt-200-ipc20", 2): "5965783450340f98",
    ("distill-cifar100-lt-200-ipc50", 1): "56bdbd5501d9b46b",
    ("distill-cifar100-lt-200-ipc50", 2): "7e545a55c077545d",
    ("distill-cifar100-lt-50-ipc10", 1): "06483803f14a09fe",
    ("distill-cifar100-lt-50-ipc10", 2): "84c24b49712f2426",
    ("distill-cifar100-lt-50-ipc20", 1): "57066507529ba3e6",
    ("distill-cifar100-lt-50-ipc20", 2): "07b443cb491ab09e",
    ("distill-cifar100-lt-50-ipc50", 1): "f16247877ad54f32",
    ("distill-cifar100-lt-50-ipc50", 2): "4051e9a47b4787e6",
    ("distill-digits", 1): "b8430f709398d6df",
    ("distill-mnist-lt-10-ipc10", 1): "41dbf2c38d8bb951",
    ("distill-mnist-lt-10-ipc10", 2): "cb11b022b6314c13",
    ("distill-mnist-lt-100-ipc10", 1): "b7687c883dcd26ad",
    ("distill-mnist-lt-100-ipc10", 2): "a83fdee46a4e1366",
    ("distill-mnist-lt-200-ipc10", 1): "dc191fb06098ae49",
    ("distill-mnist-lt-200-ipc10", 2): "2b9041b7717e8292",
    ("distill-mnist-lt-50-ipc10", 1): "281c792d13e33875",
    ("distill-mnist-lt-50-ipc10", 2): "b0568d3349505845",
    ("fashion-mnist-lt-10", 1): "879864110ad66d14",
    ("fashion-mnist-lt-100", 1): "ab87636e8f215eb5",
    ("fashion-mnist-lt-200", 1): "1cf59d9ffa26a9ca",
    ("fashion-mnist-lt-50", 1): "07c9d4473dd26ff7",
    ("imagenet-lt", 1): "0d64142ae25a13c0",
    ("inaturalist-2018", 1): "43b62be23781632c",
    ("mnist-3-8-lt-100", 1): "91c1611b6edc3382",
    ("mnist-lt-100-validation", 1): "6097a497ffc63a8c",
    ("mnist-lt-100-noise-40", 1): "3b0e5ca7aa1a37dc",
    ("mnist-lt-10", 1): "e5814d77eb6f71ed",
    ("mnist-lt-100", 1): "134fc087b89ed1c5",
    ("mnist-step-10", 1): "7d4cc3bda5ee4ba1",
    ("mnist-step-100", 1): "c640d507ac776486",
    ("mnist-step-1000", 1): "cb0138b69d483527",
    ("places-lt", 1): "f1aff0fbeb6db486",
    ("svhn-lt-10", 1): "d41db66f3e6045e4",
    ("svhn-lt-100", 1): "4f143042447264c9",
    ("svhn-lt-200", 1): "b768738f90ae87d2",
    ("svhn-lt-50", 1): "a407cfe2c6d85d39",
}

EARLIER = {
    ("balancing-the-scales", 1): "5bc5450ee72f3ec1",
    ("openml-imbalanced", 1): "7a0b5da4a2bd02cd",
    ("tabular-embedded", 1): "0b8617d851676105",
    ("tabular-uci", 1): "6e23550af4c78fd9",
    ("cifar10-jpeg-lt-10-short", 1): "b86d48b727f438fd",
    ("cifar10-jpeg-lt-10", 1): "fae5c0e03a801b62",
    ("cifar10-jpeg-lt-100-short", 1): "2f6ca099e1692891",
    ("cifar10-jpeg-lt-100", 1): "d7e1da008644ac6c",
    ("cifar10-jpeg-lt-200-short", 1): "a46b23927329cbbd",
    ("cifar10-jpeg-lt-200", 1): "e86c764c508e07d8",
    ("cifar10-jpeg-lt-50-short", 1): "b04eded8739e21e7",
    ("cifar10-jpeg-lt-50", 1): "318f10c9d4d715d3",
    ("cifar10-lt-10-short", 1): "cc81de0e840b0c24",
    ("cifar10-lt-10", 1): "de92be23431c63bd",
    ("cifar10-lt-100-short", 1): "4c01a403e93492b2",
    ("cifar10-lt-100", 1): "17f46fe3418e788c",
    ("cifar10-lt-200-short", 1): "4f07a364c07ddedd",
    ("cifar10-lt-200", 1): "0ef694be96ee155e",
    ("cifar10-lt-50-short", 1): "d8817183b6b821f6",
    ("cifar10-lt-50", 1): "8a1f36be626c097c",
    ("cifar10-step-10", 1): "d409baf62dd292fb",
    ("cifar10-step-100", 1): "81c2479fec687ebe",
    ("cifar10-step-200", 1): "7b8146746fdac9de",
    ("cifar10-step-50", 1): "ca0471430d48041a",
    ("cifar100-lt-10-short", 1): "65c0ca784219564a",
    ("cifar100-lt-10", 1): "1e4660e1094d4352",
    ("cifar100-lt-100-short", 1): "69b6106af0dd70d0",
    ("cifar100-lt-100", 1): "ca4e1f7204806970",
    ("cifar100-lt-200-short", 1): "4e1eecd763090ae6",
    ("cifar100-lt-200", 1): "a1d4929e643c0c90",
    ("cifar100-lt-50-short", 1): "f486ab682283d9cf",
    ("cifar100-lt-50", 1): "1d59c9881eaf78cb",
    ("cifar100-step-10", 1): "b87d95e1e13621a7",
    ("cifar100-step-100", 1): "6edbab40688c051f",
    ("cifar100-step-200", 1): "4689a379a65d9875",
    ("cifar100-step-50", 1): "a454408ff842a7ac",
    ("digits-balanced", 1): "4940f899b98be50f",
    ("digits-lt", 1): "31c125220c1c22ac",
    ("compress-cifar10-jpeg-n10-r100", 1): "6497b596b63d2292",
    ("compress-cifar10-jpeg-n100-r100", 1): "da2cfed9cf3d88a7",
    ("compress-cifar10-jpeg-n20-r100", 1): "07291ef651489cb4",
    ("compress-cifar10-jpeg-n50-r100-imagenet", 1): "5da1a7a22c89ae3b",
    ("compress-cifar10-jpeg-n50-r100", 1): "7725bf2744079ed9",
    ("compress-cifar10-jpeg-resnet-n10-r100", 1): "51aa3106aabf97e0",
    ("compress-cifar10-jpeg-resnet-n100-r100", 1): "135320c7c7d28382",
    ("compress-cifar10-jpeg-resnet-n20-r100", 1): "e1fcf8c50a80b2ad",
    ("compress-cifar10-jpeg-resnet-n50-r100", 1): "6e27dcf616361803",
    ("compress-cifar10-n10-r100", 1): "4070235d7cc86bc0",
    ("compress-cifar10-n100-r100", 1): "512f97275c79c1e1",
    ("compress-cifar10-n20-r100", 1): "519a9de69fa652ce",
    ("compress-cifar10-n50-r100-cifar100", 1): "e3732842d6fbaaa6",
    ("compress-cifar10-n50-r100", 1): "d27a506ea827006c",
    ("compress-cifar10-resnet-n10-r100", 1): "9a9866dcd55cf305",
    ("compress-cifar10-resnet-n100-r100", 1): "e64f04f064ef9635",
    ("compress-cifar10-resnet-n20-r100", 1): "ab7281586bc3f1b3",
    ("compress-cifar10-resnet-n50-r100", 1): "4f0cdcd31a173c49",
    ("compress-digits-noise", 1): "4ce30ca7a467d3ea",
    ("compress-digits-resnet", 1): "f514bc8b8eae7649",
    ("compress-digits", 1): "2b439d05be3a7dbe",
    ("compress-mnist-n10-r100", 1): "9e7cb9354866ff22",
    ("compress-mnist-n10-r20", 1): "ebeb6ce028d77f5e",
    ("compress-mnist-n5-r100", 1): "246f9479f240dd22",
    ("compress-mnist-n5-r20", 1): "ea59a82f3c180caa",
    ("compress-mnist-n50-r100", 1): "71a071d853692697",
    ("compress-mnist-n50-r20", 1): "9942152bbd688e05",
    ("distill-cifar10-jpeg-lt-10-ipc10", 1): "9e0a1af3e3e2fee0",
    ("distill-cifar10-jpeg-lt-10-ipc10", 2): "26f945a1c64ff502",
    ("distill-cifar10-jpeg-lt-100-ipc10", 1): "e870f0c479eec889",
    ("distill-cifar10-jpeg-lt-100-ipc10", 2): "428d52f9037da8f8",
    ("distill-cifar10-jpeg-lt-200-ipc10", 1): "e9a0698e779e0a1e",
    ("distill-cifar10-jpeg-lt-200-ipc10", 2): "c23b35905bb711b8",
    ("distill-cifar10-jpeg-lt-50-ipc10", 1): "b60448939fd47710",
    ("distill-cifar10-jpeg-lt-50-ipc10", 2): "02f1d54b576bd263",
    ("distill-cifar10-lt-10-ipc10", 1): "0ed7f67f19e13197",
    ("distill-cifar10-lt-10-ipc10", 2): "26d4bdd009cc017a",
    ("distill-cifar10-lt-10-ipc20", 1): "58701d8f867cce69",
    ("distill-cifar10-lt-10-ipc20", 2): "eeb9293521e0c5c9",
    ("distill-cifar10-lt-10-ipc50", 1): "4ef774803a0308bb",
    ("distill-cifar10-lt-10-ipc50", 2): "e6e1607e43b7c0f1",
    ("distill-cifar10-lt-100-ipc10", 1): "73d744c5bb121f38",
    ("distill-cifar10-lt-100-ipc10", 2): "582c378f20e8066d",
    ("distill-cifar10-lt-100-ipc20", 1): "0a8ca438ab07c433",
    ("distill-cifar10-lt-100-ipc20", 2): "75c0fb9359737279",
    ("distill-cifar10-lt-100-ipc50", 1): "d2489c4a157aaf89",
    ("distill-cifar10-lt-100-ipc50", 2): "ac87e46703e6ee5e",
    ("distill-cifar10-lt-200-ipc10", 1): "daf41e6a15b3088f",
    ("distill-cifar10-lt-200-ipc10", 2): "4a766a987d175932",
    ("distill-cifar10-lt-200-ipc20", 1): "db8af08c4eab1c75",
    ("distill-cifar10-lt-200-ipc20", 2): "fc5a11296d5cb5ac",
    ("distill-cifar10-lt-200-ipc50", 1): "f4fdbd3ed9d5ff00",
    ("distill-cifar10-lt-200-ipc50", 2): "0a63d99bb1acef02",
    ("distill-cifar10-lt-50-ipc10", 1): "bede7d751d985a46",
    ("distill-cifar10-lt-50-ipc10", 2): "43b9ba8d12eae1a0",
    ("distill-cifar10-lt-50-ipc20", 1): "883528a8aa2f5a0c",
    ("distill-cifar10-lt-50-ipc20", 2): "9c56cec522b6a29a",
    ("distill-cifar10-lt-50-ipc50", 1): "5a8b6847f925c83b",
    ("distill-cifar10-lt-50-ipc50", 2): "04965f45e7f06782",
    ("distill-cifar100-lt-10-ipc10", 1): "b9fd622371dcb53e",
    ("distill-cifar100-lt-10-ipc10", 2): "8784e6ee94cd46c3",
    ("distill-cifar100-lt-10-ipc20", 1): "7fa34da18b995eba",
    ("distill-cifar100-lt-10-ipc20", 2): "5d48e5a9037d125f",
    ("distill-cifar100-lt-10-ipc50", 1): "aa055d4febe7d8fa",
    ("distill-cifar100-lt-10-ipc50", 2): "f7a4796fbfe41641",
    ("distill-cifar100-lt-100-ipc10", 1): "f830d2a3626fcd20",
    ("distill-cifar100-lt-100-ipc10", 2): "4680b0d92756a2df",
    ("distill-cifar100-lt-100-ipc20", 1): "7db67dfbe6b7f267",
    ("distill-cifar100-lt-100-ipc20", 2): "f5922b08a90609da",
    ("distill-cifar100-lt-100-ipc50", 1): "0bcdc889631f9c6e",
    ("distill-cifar100-lt-100-ipc50", 2): "63627e6c2ba940c7",
    ("distill-cifar100-lt-200-ipc10", 1): "761b9c627d65fb90",
    ("distill-cifar100-lt-200-ipc10", 2): "cb09dfd5e0341d16",
    ("distill-cifar100-lt-200-ipc20", 1): "5cb9735a864cf523",
    ("distill-cifar100-lt-200-ipc20", 2): "42a2b51cb425395f",
    ("distill-cifar100-lt-200-ipc50", 1): "b2788a8fc85d9c4e",
    ("distill-cifar100-lt-200-ipc50", 2): "53f78bbcb4770353",
    ("distill-cifar100-lt-50-ipc10", 1): "8f197b6dcd79a117",
    ("distill-cifar100-lt-50-ipc10", 2): "345ac513294b68b0",
    ("distill-cifar100-lt-50-ipc20", 1): "6d77696e426e7e54",
    ("distill-cifar100-lt-50-ipc20", 2): "afaa114a905f1a15",
    ("distill-cifar100-lt-50-ipc50", 1): "50dce734a05239e8",
    ("distill-cifar100-lt-50-ipc50", 2): "b230baf58b47db92",
    ("distill-digits", 1): "759f0a5467d2a6c8",
    ("distill-mnist-lt-10-ipc10", 1): "334e688103d69da8",
    ("distill-mnist-lt-100-ipc10", 1): "8ae9500a547e9cc7",
    ("distill-mnist-lt-200-ipc10", 1): "275296bea091da27",
    ("distill-mnist-lt-50-ipc10", 1): "debfd09fdcab0c01",
    ("fashion-mnist-lt-10", 1): "aa27cf808ab6a406",
    ("fashion-mnist-lt-100", 1): "c0a226e5d8579c18",
    ("fashion-mnist-lt-200", 1): "340ac42335ca5dfc",
    ("fashion-mnist-lt-50", 1): "772f1742caa72a6e",
    ("imagenet-lt", 1): "fbb8c601e13ff40a",
    ("inaturalist-2018", 1): "f8a1fa7466361a7c",
    ("mnist-3-8-lt-100", 1): "8f9716d3b80bd7c9",
    ("mnist-lt-100-validation", 1): "2a1508e5b5a0e35b",
    ("mnist-lt-100-noise-40", 1): "9c1e9ab3e78c8b60",
    ("mnist-lt-10", 1): "e7f31442cc116e6c",
    ("mnist-lt-100", 1): "538ca9698a0a28ee",
    ("mnist-step-10", 1): "840ed644dd597e5f",
    ("mnist-step-100", 1): "a586ed010bd032d6",
    ("mnist-step-1000", 1): "861f87f910b6b527",
    ("places-lt", 1): "d26c00b6e79f7cfd",
    ("svhn-lt-10", 1): "a7673fbf48e84849",
    ("svhn-lt-100", 1): "e4aba2d812d52c75",
    ("svhn-lt-200", 1): "e6650214952c43d3",
    ("svhn-lt-50", 1): "fcf9a4a7be082366",
}
"""The hashes under the rule that hashed the number of seeds, which older records tell."""


def shipped_protocols():
    known = installed()
    return [name for name in known.protocols() if known.ships(name)]


def test_every_shipped_protocol_has_the_hash_it_was_shipped_with():
    """A protocol that changes needs a new version, and a new line here beside the old one."""
    shipped = {(p.name, p.version): p.hash for p in map(protocol, shipped_protocols())}
    assert shipped.keys() <= PINNED.keys(), "a new protocol or version belongs in PINNED"
    assert shipped == {key: PINNED[key] for key in shipped}


def test_every_shipped_protocol_counts_the_hash_of_older_records():
    shipped = {(p.name, p.version): p for p in map(protocol, shipped_protocols())}
    assert {
        key for key in EARLIER if key in shipped and not shipped[key].counts(EARLIER[key])
    } == set()
    assert shipped["digits-lt", 1].counts(PINNED["digits-lt", 1])
    assert not shipped["digits-lt", 1].counts(EARLIER["digits-balanced", 1])


def test_a_board_may_grow_by_seeds(written):
    eight = written("seeds = 2", "seeds = 8")
    assert eight.hash == written().hash
    told = msgspec.to_builtins(written())
    for key in ("description", "recipes", "contrasts"):
        told.pop(key, None)
    earlier = hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()[:16]
    assert earlier != eight.hash
    assert eight.counts(earlier)
    assert not written("factor = 10", "factor = 20").counts(earlier)


class Inner(Struct, frozen=True):
    width: int
    depth: int = 1


class Outer(Protocol, frozen=True, kw_only=True, tag="outer"):
    inner: Inner


def test_a_default_is_never_hashed_however_it_is_stated():
    common = {"name": "a", "version": 1, "description": "", "recipes": ["erm"], "seeds": 1}
    common["compute"] = {"threads": 1}
    bare, stated, other = (
        msgspec.convert({**common, "track": "outer", "inner": inner}, Outer).hash
        for inner in ({"width": 2}, {"width": 2, "depth": 1}, {"width": 2, "depth": 3})
    )
    assert bare == stated != other


def test_a_file_is_named_like_its_protocol():
    assert all(
        protocol(name).name == name == file.stem for name, file in installed().protocols().items()
    )


@pytest.fixture
def written(tiny):
    def write(old="", new=""):
        text = tiny.read_text()
        assert old in text
        path = tiny.with_name("mine.toml")
        path.write_text(text.replace(old, new) if old else text)
        return protocol(path)

    return write


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("c10b9250e22f3a67", "0000000000000000"),
        ("test_per_class = 20", "test_per_class = 21"),
        ("test_per_class = 20", "test_per_class = 20\nvalidation_share = 0.2"),
        ('profile = "exponential"', 'profile = "linear"'),
        ("factor = 10", "factor = 20"),
        ('draw = "seed"', 'draw = "fixed"'),
        ("widths = [16]", "widths = [17]"),
        ("epochs = 8", "epochs = 3"),
        ("lr = 0.1", "lr = 0.06"),
        ("nesterov = false", "nesterov = true"),
        ("shot_splits = [5, 15]", "shot_splits = [5, 16]"),
        ('"many", "few"', '"few"'),
        ("threads = 1", "threads = 2"),
    ],
)
def test_the_hash_covers_what_decides_a_number(written, old, new):
    assert written(old, new).hash != written().hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Digits, for tests", "Digits, as tests"),
        ('recipes = ["erm", "logit-adjustment"]', 'recipes = ["erm"]'),
        ("lr = 0.1", "lr = 1e-1  # the same"),
        ("seeds = 2", "seeds = 3"),
        ("threads = 1", 'threads = 1\nprecision = "float32"'),
        ("test_per_class = 20", "test_per_class = 20\nlabel_noise = 0.0"),
    ],
)
def test_the_hash_leaves_out_what_only_tells(written, old, new):
    assert written(old, new).hash == written().hash


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs = 8", "epoch = 2", "unknown key 'epoch' - at budget; did you mean 'epochs'?"),
        ("epochs = 8\n", "", "key epochs is missing - at budget"),
        ("epochs = 8", 'epochs = "8"', "expected int, got str - at budget.epochs"),
        ("epochs = 8", "epochs = 0", "expected int >= 1 - at budget.epochs"),
        ("version = 1", "version = 1.5", "expected int, got float - at version"),
        ("factor = 10", "factor = 0.1", "expected float >= 1.0 - at imbalance.factor"),
        ("factor = 10", "counts = [1]", "needs factor and n_max alone"),
        ('"recognition"', '"recognitoin"', "unknown track 'recognitoin'; did you mean 'recog"),
        ('track = "recognition"\n', "", "key track is missing"),
        ('track = "recognition"', "track = 3", "track is 3, not a text"),
        ('name = "tiny"', 'name = "../tiny"', "matching regex"),
        ("factor = 10", "factor = inf", "expected a finite number, got inf - at imbalance.factor"),
        ("warmup = 0.1", "warmup = nan", "expected a finite number, got nan - at budget.warmup"),
        ('"many", "few"', '"meny"', "unknown metric 'meny'; known: balanced_accuracy, accuracy"),
        (
            'decay = "cosine"',
            'decay = "steps"\nmilestones = [0.9, 0.5]\nfactors = [0.01, 0.1]',
            "milestones [0.9, 0.5] must rise",
        ),
        ("[5, 15]", "[15, 5]", "shot_splits [15, 5] must not fall"),
        ('name = "mlp"\n', "", "key name is missing - at network"),
        ("[imbalance]", 'classes = ["a"]\n[imbalance]', "classes needs two names or more"),
        ("version = 1", "version = ", "is not TOML"),
        ("version = 1", "version = 1\nversion = 1", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(written, old, new, words):
    with pytest.raises(LTBenchError) as refusal:
        written(old, new)
    assert words in str(refusal.value)
    assert "mine.toml" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


TOP = """
name = "mine"
version = 1
track = "{track}"
description = "Of my own."
recipes = ["erm"]
seeds = 2
compute = {{threads = 1}}
"""
BUDGET = ("epochs", "batch_size", "lr", "momentum", "nesterov", "weight_decay", "warmup")
BUDGET += ("decay", "augmentation")
REST = ["network", *(f"budget.{key}" for key in BUDGET), "scoring.metrics", "scoring.shot_splits"]
ORDER = ["imbalance.class_order", "imbalance.draw"]


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        (
            'name = "mine"',
            ["track", "version", "description", "recipes", "seeds", "compute.threads"],
        ),
        (
            TOP.format(track="recognition"),
            ["data.source", "data.fingerprint", "imbalance.profile", *ORDER, *REST],
        ),
        (
            TOP.format(track="recognition")
            + '[data]\nsource = "digits"\n[imbalance]\nprofile = "source"\n'
            + "[network]\nwidths = [4]\n",
            ["data.fingerprint", *REST[1:], "network.name"],
        ),
        (
            TOP.format(track="recognition") + '[imbalance]\nprofile = "step"\n',
            ["data.source", "data.fingerprint", *ORDER, *REST],
        ),
        (
            TOP.format(track="tabular") + "[tables.a]\n[tables.b]\nsource = 'mine'\n",
            ["tables.a.source", "tables.a.fingerprint", "tables.b.fingerprint", "learners"],
        ),
    ],
    ids=["a name", "no tables", "some tables", "a step", "tables"],
)
def test_all_keys_that_are_missing_are_told_at_once(tmp_path, text, lacking):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(LTBenchError) as refusal:
        protocol(path)
    assert str(refusal.value) == f"protocol {path}: keys are missing: {', '.join(lacking)}"


def test_a_source_as_it_is_needs_no_order_and_no_draw(tiny):
    profile = '[imbalance]\nprofile = "source"\n'
    order = 'class_order = "label"\ndraw = "fixed"\n'
    text = tiny.read_text()
    head, tail = text.split("[imbalance]")[0], "[network]" + text.split("[network]")[1]
    tiny.write_text(head + profile + tail)
    told = protocol(tiny)
    assert (told.imbalance.class_order, told.imbalance.draw) == ("label", "fixed")
    tiny.write_text(head + profile + order + tail)
    assert protocol(tiny).hash == told.hash
    for lines, words in ((order[:22], "draw"), (order[22:], "class_order")):
        other = profile.replace("source", "step") + "n_max = 9\nfactor = 3\n" + lines
        tiny.write_text(head + other + tail)
        with pytest.raises(LTBenchError, match=f"key {words} is missing - at imbalance"):
            protocol(tiny)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["toml", "TOML"])
def test_a_file_may_begin_with_a_mark_and_end_in_capitals(tiny, encoding, ending):
    path = tiny.with_name(f"mine.{ending}")
    path.write_text(tiny.read_text(), encoding=encoding)
    assert protocol(path).hash == protocol(tiny).hash


def test_a_file_in_another_encoding_is_named_readably(tiny):
    path = tiny.with_name(os.fsdecode(b"caf\xe9.toml"))
    path.write_bytes(tiny.read_bytes())
    assert protocol(path).hash == protocol(tiny).hash
    path.write_bytes("name = 'é'".encode("utf-16"))
    with pytest.raises(LTBenchError, match="café.toml is not TOML"):
        protocol(path)


def test_a_protocol_may_stand_on_another(tiny):
    above = tiny.with_name("above.toml")
    above.write_text('base = "tiny"\nname = "above"\n[budget]\nepochs = 3\n')
    below, built = protocol(tiny), protocol(above)
    assert (built.name, built.budget.epochs, built.budget.lr) == ("above", 3, below.budget.lr)
    assert built.imbalance == below.imbalance
    above.write_text('base = "digits-lt"\nname = "above"\n[network]\nname = "mlp"\nwidths = [4]\n')
    assert protocol(above).network == {"name": "mlp", "widths": [4]}


@pytest.mark.parametrize("base", ["tinny", "above", "../tiny"])
def test_a_base_that_is_not_there_is_refused(tiny, base):
    above = tiny.with_name("above.toml")
    above.write_text(f'base = "{base}"\n')
    with pytest.raises(LTBenchError, match=f"unknown base '{base}'"):
        protocol(above)


def test_bases_in_a_circle_are_refused(tiny):
    for one, other in (("a", "b"), ("b", "a")):
        tiny.with_name(f"{one}.toml").write_text(f'base = "{other}"\n')
    with pytest.raises(LTBenchError, match="unknown base"):
        protocol(tiny.with_name("a.toml"))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(LTBenchError, match="cannot be read: No such file"):
        protocol(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LTBenchError, match="is not TOML"):
        protocol(tmp_path / "bytes.toml")


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(LTBenchError, match="did you mean 'digits-lt'"):
        protocol("digit-lt")
