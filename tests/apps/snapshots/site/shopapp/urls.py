from django.urls import include, path
from rest_framework import routers, serializers, viewsets
from rest_framework.decorators import api_view
from rest_framework.response import Response

from . import apps, signals, state
from .models import Item

state.PRICES.load()


class S(serializers.ModelSerializer):
    class Meta:
        model = Item
        fields = ["id", "name", "price"]


class V(viewsets.ModelViewSet):
    queryset = Item.objects.all()
    serializer_class = S


@api_view(["GET"])
def st(request):
    return Response(
        [
            state.TABLE,
            state.LOADED,
            signals.SEEN,
            apps.ShopConfig.ready_count,
            state.PRICES.d,
            len(__import__("django.db.models.signals", fromlist=["x"]).post_save.receivers),
        ]
    )


r = routers.DefaultRouter()
r.register("items", V)
urlpatterns = [path("st", st), path("", include(r.urls))]


@api_view(["GET"])
def st2(request):
    return Response(
        [
            state.MODEL and state.MODEL.d,
            state.ARR is not None and state.ARR.sum(),
            state.PRICES.d,
            state.OBJS["p"] is state.PRICES,
            state.FRESH.locked(),
            len(state.RUNS),
        ]
    )


urlpatterns.insert(0, path("st2", st2))
