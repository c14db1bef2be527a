"""Chameleon: a table of 100 rows and 20 columns."""

from body_web import web
from chameleon import PageTemplate

PAGE = PageTemplate(
    '<table><tr tal:repeat="row rows"><td tal:repeat="cell row">${cell}</td></tr></table>'
)
ROWS, COLUMNS = 100, 20


def body() -> str:
    return str(PAGE.render(rows=[range(n, n + COLUMNS) for n in range(ROWS)]))


app = web(body)
