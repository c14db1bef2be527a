"""FastAPI validation: query parameters in, nested models out; POST does the same with a JSON body."""

from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

app = FastAPI()


class Line(BaseModel):
    """One line of an order; the price is in cents."""

    name: str = Field(min_length=1, max_length=40)
    cents: int = Field(ge=0)
    quantity: int = Field(ge=1, le=99)


class Order(BaseModel):
    customer: str = Field(pattern=r"^[a-z]+$")
    lines: list[Line]


class Receipt(BaseModel):
    order: Order
    total: int


@app.post("/")
async def receive(order: Order) -> Receipt:
    return Receipt(order=order, total=sum(line.cents * line.quantity for line in order.lines))


@app.get("/")
async def example(
    customer: Annotated[str, Query(pattern=r"^[a-z]+$")] = "ada",
    count: Annotated[int, Query(ge=1, le=50)] = 20,
) -> Receipt:
    lines = [{"name": f"item {n}", "cents": n * 100, "quantity": n % 9 + 1} for n in range(count)]
    return await receive(Order.model_validate({"customer": customer, "lines": lines}))
