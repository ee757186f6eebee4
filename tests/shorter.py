"""Methods that train long by themselves, with parameters at which they do as much in less time."""

SHORTER = {
    "air": "air(width=64)",
    "bagan": "bagan(steps=4)",
    "creff": "creff(matching=10, epochs=20)",
    "fedetf": "fedetf(turns=1, epochs=1)",
    "instance-hardness": "instance-hardness(trees=5)",
    "lad": "lad(steps=2)",
    "practise": "practise(steps=2)",
}
