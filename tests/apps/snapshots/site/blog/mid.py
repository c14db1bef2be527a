HITS = {"n": 0}


class Mid:
    def __init__(self, g):
        self.g = g

    def __call__(self, r):
        HITS["n"] += 1
        x = self.g(r)
        x["x-hits"] = str(HITS["n"])
        return x


def ctx(r):
    return {"ctx": "C"}
