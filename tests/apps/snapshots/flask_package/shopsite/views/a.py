import logging

from flask import Blueprint, current_app, render_template, url_for

from ..extensions import LOG, ext

log = logging.getLogger("shop")
bp = Blueprint("a", __name__)


@bp.route("/")
def index():
    log.info("x")
    return render_template(
        "i.html",
        v=current_app.config["GREETING"],
        same=ext.app is current_app._get_current_object(),
        log=len(LOG),
        h=len(log.handlers),
        u=url_for("b.z", n=1),
        lvl=log.level,
    )
