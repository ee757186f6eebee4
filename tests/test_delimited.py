import pytest

from ltbench import LTBenchError
from ltbench.datasets.delimited import decoded, grid


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("a,b\n1,2\n", ["a", "b"], [["1", "2"]]),
        ("a;b\n1,5;2\n3;4,5\n", ["a", "b"], [["1,5", "2"], ["3", "4,5"]]),
        ("x;t\n1,5;ja\n2,5;nein\n", ["x", "t"], [["1,5", "ja"], ["2,5", "nein"]]),
        ("a\tb\n1\t2,3\n", ["a", "b"], [["1", "2,3"]]),
        ("a|b\n1|2\n", ["a", "b"], [["1", "2"]]),
        ("a b  c\n 1   2 3 \n4 5 6\n", ["a", "b", "c"], [["1", "2", "3"], ["4", "5", "6"]]),
        ("sep=;\na;b\n1;2\n", ["a", "b"], [["1", "2"]]),
        ('a, b\n1, "x, y"\n', ["a", "b"], [["1", "x, y"]]),
        ("'a','b'\n'x,1',2\n", ["a", "b"], [["x,1", "2"]]),
        # lines that are none
        ("\n\na,b\n1,2\n\n \n3,4\n,\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ('a,b\n"x\ny",2\n', ["a", "b"], [["x\ny", "2"]]),
        ("# made by hand\na,b\n1,2\n", ["a", "b"], [["1", "2"]]),
        # a comment that names columns
        ("# x,y\n1,2\n", ["x", "y"], [["1", "2"]]),
        ("# x y\n1 2\n", ["x", "y"], [["1", "2"]]),
        ("#,name\n1,Ann\n", ["Unnamed: 0", "name"], [["1", "Ann"]]),
        # what ends lines
        ("a,b,\n1,2,\n3,4,\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("a,b\n1,2,\n3,4,\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("a,b,\n1,2\n3,4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        # names of rows
        (",a\n0,3\n1,5\n", ["Unnamed: 0", "a"], [["0", "3"], ["1", "5"]]),
        ("a,b\n1,3,x\n2,5,y\n", ["Unnamed: 0", "a", "b"], [["1", "3", "x"], ["2", "5", "y"]]),
        ("a,b\nAnn,3,x\nBo,5,y\n", ["Unnamed: 0", "a", "b"], [["Ann", "3", "x"], ["Bo", "5", "y"]]),
        # no header
        ("5.1,cat\n4.9,cat\n", ["column 1", "column 2"], [["5.1", "cat"], ["4.9", "cat"]]),
        ("5,1;cat\n4,9;cat\n", ["column 1", "column 2"], [["5,1", "cat"], ["4,9", "cat"]]),
        # names that are numbers
        ("0,1\n.1,a\n", ["0", "1"], [[".1", "a"]]),
        ("1990,label\n1,yes\n2,no\n", ["1990", "label"], [["1", "yes"], ["2", "no"]]),
    ],
)
def test_a_text_is_read_as_it_is_meant(text, names, rows):
    found = grid(text)
    assert found.names == names
    assert found.rows == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("a,b\n", "it has names of columns, but no rows"),
        (
            "a\n1\n",
            "it has one column; if another character separates columns, say which in the pro",
        ),
        ("a,b\n1,2\n3\n", "line 3 has 1 fields, but line 2 has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, but line 2 has 2"),
        ("\n# x\na,b\n1,2,3,4\n", "line 4 has 4 fields, but line 3 has 2"),
        ("a,b,c\n1,2\n", "line 2 has 2 fields, but line 1 has 3"),
        ("a,t\n.5,1,x\n.7,1,y\n", "3 fields, as '.5 | 1 | x', but there are names for 2 columns"),
        ("a,t\n1,x,\n2,y,\n", "every line has 3 fields, as '1 | x |', but there are names for 2"),
        ("a,b\n1,2\na,b\n3,4\n", "row 1 repeats the names of columns; leave it out"),
        ('a,b\n1,"2\n3,4\n', "line 3: unexpected end of data"),
        ('a,b\n1,"x" y\n', "line 2: ',' expected after '\"'"),
    ],
)
def test_what_can_be_read_in_two_ways_or_in_none_is_refused(text, words):
    with pytest.raises(LTBenchError) as refusal:
        grid(text)
    assert words in str(refusal.value)


def test_the_user_may_say_what_is_not_found_out():
    assert grid("a:b\n1:2\n", separator=":").names == ["a", "b"]
    assert grid("a,b\nc,d\n", header=False).names == ["column 1", "column 2"]
    assert grid("5,cat\n4,cat\n", header=True).names == ["5", "cat"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_tell_the_encoding(encoding):
    assert decoded("größe,b\r\n1,2\r".encode(encoding)) == "größe,b\n1,2\n"


def test_other_encodings_are_read_if_they_are_told():
    data = "a\nß\n".encode("cp1252")
    assert decoded(data, "cp1252") == "a\nß\n"
    with pytest.raises(
        LTBenchError, match="line 2 is not in utf-8; save it in UTF-8, or say its e"
    ):
        decoded(data)
    with pytest.raises(LTBenchError, match="'klingon' is no encoding"):
        decoded(data, "klingon")
    with pytest.raises(LTBenchError, match="it is no text, or in an encoding"):
        decoded("a,b\n".encode("utf-16-le"))
