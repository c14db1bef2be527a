"""AES in counter mode, in pure Python (pyaes): 4 KB there and back."""

import pyaes
from body_web import web

KEY = bytes(range(16))
TEXT = bytes(n % 251 for n in range(4096))


def body() -> str:
    secret = pyaes.AESModeOfOperationCTR(KEY).encrypt(TEXT)
    clear = pyaes.AESModeOfOperationCTR(KEY).decrypt(secret)
    return f"{clear == TEXT} {secret[:8].hex()}\n"


app = web(body)
