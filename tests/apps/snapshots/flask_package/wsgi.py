from shopsite import create_app

app = create_app()
