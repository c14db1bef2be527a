import logging
import logging.config

LOG = []
logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"f": {"format": "%(levelname)s %(message)s"}},
        "handlers": {
            "h": {"class": "logging.handlers.MemoryHandler", "capacity": 100, "formatter": "f"},
            "c": {"class": "logging.StreamHandler", "formatter": "f", "stream": "ext://sys.stdout"},
        },
        "loggers": {"shop": {"handlers": ["h"], "level": "DEBUG", "propagate": False}},
        "root": {"handlers": ["c"], "level": "ERROR"},
    }
)


class Ext:
    def __init__(self):
        self.app = None

    def init_app(self, app):
        self.app = app
        app.extensions["mine"] = self


ext = Ext()


def init(app):
    ext.init_app(app)
