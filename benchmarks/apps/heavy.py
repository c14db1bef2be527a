"""A Flask app whose imports are heavy: numpy, pandas and scikit-learn."""

import numpy
import pandas
from flask import Flask
from sklearn.linear_model import LinearRegression

app = Flask(__name__)
FRAME = pandas.DataFrame({"x": numpy.arange(100.0), "y": numpy.arange(100.0) * 2 + 1})
MODEL = LinearRegression().fit(FRAME[["x"]].to_numpy(), FRAME["y"].to_numpy())


@app.get("/")
def predict() -> str:
    return f"{MODEL.predict(numpy.array([[21.0]]))[0]:.1f}\n"
