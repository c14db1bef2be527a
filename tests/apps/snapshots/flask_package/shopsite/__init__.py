from flask import Flask

from . import extensions
from .config import Config


def create_app():
    app = Flask(__name__)
    app.config.from_object(Config)
    extensions.init(app)
    from .views import a, b

    app.register_blueprint(a.bp)
    app.register_blueprint(b.bp, url_prefix="/b")

    @app.template_filter("dbl")
    def dbl(x):
        return x * 2

    @app.context_processor
    def inj():
        return {"site": "S"}

    @app.cli.command("hi")
    def hi():
        print("hi")

    @app.teardown_request
    def td(e):
        extensions.LOG.append("td")

    return app
