"""A scikit-learn model behind FastAPI, trained once in the lifespan's start-up.

runner serve flowers:app --app-dir examples/fastapi_model
uvicorn --app-dir examples/fastapi_model flowers:app
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

PAGE = Path(__file__).with_name("flowers.html")
Centimetres = Annotated[float, Field(ge=0, le=20)]


class Flower(BaseModel):
    """What was measured on a flower."""

    sepal_length: Centimetres
    sepal_width: Centimetres
    petal_length: Centimetres
    petal_width: Centimetres


class Prediction(BaseModel):
    """The likeliest species, and how likely each one is."""

    species: str
    probabilities: dict[str, float]


@dataclass
class Model:
    """A trained classifier, its classes' names, and its share of right answers on flowers kept back."""

    pipeline: Pipeline
    species: list[str]
    accuracy: float

    def predict(self, flower: Flower) -> Prediction:
        measured = [[flower.sepal_length, flower.sepal_width, flower.petal_length, flower.petal_width]]
        row = self.pipeline.predict_proba(measured)[0]
        probabilities = {name: round(float(value), 4) for name, value in zip(self.species, row, strict=True)}
        return Prediction(
            species=max(probabilities, key=lambda name: probabilities[name]), probabilities=probabilities
        )


def train() -> Model:
    iris = load_iris()
    kept = train_test_split(iris.data, iris.target, test_size=0.2, random_state=7, stratify=iris.target)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    pipeline.fit(kept[0], kept[2])
    return Model(pipeline, [str(name) for name in iris.target_names], pipeline.score(kept[1], kept[3]))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.model = train()
    yield
    del app.state.model


app = FastAPI(title="Flowers", lifespan=lifespan)


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(PAGE)


@app.get("/model")
async def about(request: Request) -> dict[str, object]:
    model: Model = request.app.state.model
    return {"species": model.species, "accuracy": round(model.accuracy, 3)}


@app.post("/predict")
def predict(flower: Flower, request: Request) -> Prediction:
    model: Model = request.app.state.model
    return model.predict(flower)
