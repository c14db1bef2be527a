import os


class Base:
    DEBUG = False


class Config(Base):
    SECRET_KEY = "x"
    GREETING = os.environ.get("G", "hey")
