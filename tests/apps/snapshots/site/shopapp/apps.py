from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shopapp"
    ready_count = 0

    def ready(self):
        from . import state

        type(self).ready_count += 1
        state.TABLE.update({i: i * i for i in range(10)})
        state.LOADED = state.LOADED + 1
