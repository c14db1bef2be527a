import falcon
import falcon.media


class Thing:
    def __init__(self, store):
        self.store = store

    def on_get(self, req, resp, name):
        resp.media = {"v": self.store.get(name), "q": req.get_param_as_int("q", default=1)}

    def on_post(self, req, resp, name):
        self.store[name] = req.get_media()
        resp.status = falcon.HTTP_201


class Mid:
    def process_response(self, req, resp, resource, ok):
        resp.set_header("x-own", "yes")


class H:
    def sink(self, req, resp):
        resp.text = "sink"


class E(Exception):
    pass


def eh(req, resp, ex, params):
    resp.status = "418 X"
    resp.text = "E"


class Er:
    def on_get(self, req, resp):
        raise E


STORE = {"a": 1}
app = falcon.App(middleware=[Mid()])
app.add_route("/t/{name}", Thing(STORE))
app.add_route("/e", Er())
app.add_sink(H().sink, "/sink")
app.add_error_handler(E, eh)
