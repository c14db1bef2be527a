"""Exchange rates: a FastAPI app that is deployed as it stands, or as the live object that a script holds.

    runner deploy examples/fastapi_rates --handler rates:app --name rates
    python examples/fastapi_rates/rates.py

The second line ships a snapshot of the app: what its start-up has loaded goes with it, its source need not.
"""

import csv
from pathlib import Path

from fastapi import FastAPI, HTTPException
from snapfork.adapter import serverless

app = FastAPI(title="Exchange rates")
with (Path(__file__).parent / "rates.csv").open() as file:
    RATES = {row["currency"]: float(row["per_euro"]) for row in csv.DictReader(file)}


@app.get("/")
def currencies() -> list[str]:
    return sorted(RATES)


@app.get("/{given}/{wanted}")
def convert(given: str, wanted: str, amount: float = 1.0) -> dict[str, float | str]:
    for one in (given, wanted):
        if one not in RATES:
            raise HTTPException(404, f"There is no rate of {one}.")
    return {"currency": wanted, "amount": round(amount / RATES[given] * RATES[wanted], 2)}


if __name__ == "__main__":
    made = serverless(app).deploy(name="rates", alias="live")
    print("version", made["version"]["version"])
    print(*made["addresses"], sep="\n")
