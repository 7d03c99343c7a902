import pytest

from handlers_support import Ask
from server_support import SECRET, serving
from tornado_sse.app import EventServer
from tornado_sse.config import Settings
from tornado_sse.handlers.routes import ADMIN, FILES, PUBLIC, admin_routes, application, public_routes


def patterns(routes: list[object]) -> list[str]:
    return [str(route.regex.pattern) for route in routes]  # type: ignore[attr-defined]


def made(**settings: object) -> EventServer:
    return EventServer(Settings(jwt_secret=SECRET, **settings))


def test_the_public_operations() -> None:
    assert patterns([*public_routes(made())]) == [pattern + "$" for pattern in PUBLIC | FILES]
    assert "/sse/connect/([^/]+)$" in patterns([*public_routes(made())])


def test_the_demo_is_there_in_dev_mode_only() -> None:
    demo = set(patterns([*public_routes(made(dev=True))])) - set(patterns([*public_routes(made())]))
    assert any(pattern.startswith("/demo") for pattern in demo)


def test_the_admin_routes() -> None:
    assert patterns([*admin_routes(made())]) == [pattern + "$" for pattern in ADMIN]


def test_no_request_is_logged_for_paths_and_queries_hold_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    one = made()
    application(one, one.routes()).settings["log_function"](None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.gen_test
async def test_public_and_admin_routes_do_not_mix() -> None:
    async with serving() as node:
        assert (await node.ask("/openapi.json", user=None)).status == 200
        assert (await node.ask("/openapi.json", user=None, admin=True)).status == 404
        assert (await node.ask("/metrics", user=None)).status == 404


@pytest.mark.gen_test
async def test_a_path_is_matched_whole(ask: Ask) -> None:
    assert (await ask("/healthz/more")).code == 404
    assert (await ask("/sse/connect/a/b")).code == 404
