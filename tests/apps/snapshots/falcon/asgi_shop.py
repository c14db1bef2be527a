import falcon.asgi


class Thing:
    async def on_get(self, req, resp):
        resp.media = {"ok": True}


app = falcon.asgi.App()
app.add_route("/", Thing())
