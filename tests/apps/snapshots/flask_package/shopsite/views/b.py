from flask import Blueprint, abort
from flask.views import MethodView

bp = Blueprint("b", __name__)


@bp.errorhandler(409)
def c(e):
    return ("conflict", 409)


class Z(MethodView):
    init_every_request = False

    def get(self, n):
        return f"n{n}"

    def post(self, n):
        abort(409)


bp.add_url_rule("/z/<int:n>", view_func=Z.as_view("z"))
