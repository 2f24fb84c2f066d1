"""The pager's promises: nothing bought twice or needlessly, nothing paid thrown away."""

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from conftest import MakeClient

from tiktok_following import (
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    FollowingClient,
    InvalidHandleError,
    LookupStatus,
    PaginationError,
    ProfileUnavailableError,
    ResponseDecodeError,
    ServerError,
)
from tiktok_following.sandbox import Gate, Profile, Sandbox, faults

NASA = 95


def truth(sandbox: Sandbox, handle: str) -> list[str]:
    return [account["handle"] for account in sandbox.profile(handle).accounts]


def change_page(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["page"].update(changes)
        return body

    return change


def change_status(status: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(body: dict[str, Any]) -> dict[str, Any]:
        page = {"nextCursor": None, "hasMore": False}
        body["data"].update(lookupStatus=status, accounts=[], page=page, totalAccounts=None)
        return body

    return change


async def test_every_account_comes_once_and_in_order(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    pager = client.following("nasa")
    handles = [account.handle async for account in pager]
    assert handles == truth(sandbox, "nasa")
    assert (pager.status, pager.total, pager.complete) == (LookupStatus.FOUND, NASA, True)
    assert pager.usage.credits_charged == sandbox.credits_charged == 4
    assert pager.cursor is None
    assert pager.handle == "nasa"


async def test_nothing_is_sent_before_the_first_account_is_asked_for(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    pager = client.following("nasa")
    assert (pager.status, pager.total, pager.complete, pager.cursor) == (None, None, False, None)
    assert sandbox.requests == []


async def test_a_page_is_bought_only_when_its_first_row_is_asked_for(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    pager = client.following("nasa")
    for _ in range(30):
        await anext(pager)
    assert len(sandbox.requests) == 1
    await anext(pager)
    assert len(sandbox.requests) == 2


async def test_rows_served_twice_at_a_page_boundary_are_kept(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    result = await client.following("boundary.duplicates").collect()
    served = [row["handle"] for page in sandbox.pages("boundary.duplicates") for row in page]
    assert [account.handle for account in result.accounts] == served
    assert len(served) > len(set(served))


async def test_an_empty_page_in_the_middle_does_not_end_the_list(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    def empty(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["accounts"] = []
        return body

    honest = truth(sandbox, "nasa")
    cursor = (await client.following_page("nasa")).next_cursor
    sandbox.script(faults.reshaped(empty), cursor=cursor)
    result = await client.following("nasa").collect()
    assert [account.handle for account in result.accounts] == honest[:30] + honest[60:]
    assert result.complete


async def test_pages_come_whole_and_an_empty_one_too(client: FollowingClient) -> None:
    pages = [page async for page in client.following("empty.profile").pages()]
    assert [len(page.accounts) for page in pages] == [0]
    pages = [page async for page in client.following("nasa").pages()]
    assert [len(page.accounts) for page in pages] == [30, 30, 30, 5]
    assert pages[1].cursor == pages[0].next_cursor


async def test_iterating_again_goes_on_in_the_middle_of_a_page_for_free(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    pager = client.following("nasa")
    handles: list[str] = []
    async for account in pager:
        handles.append(account.handle)
        if len(handles) == 40:
            break
    handles += [account.handle async for account in pager]
    assert handles == truth(sandbox, "nasa")
    assert sandbox.credits_charged == 4


async def test_a_begun_page_comes_again_from_pages_whole_and_for_free(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    pager = client.following("nasa")
    for _ in range(35):
        await anext(pager)
    pages = [page async for page in pager.pages()]
    assert [len(page.accounts) for page in pages] == [30, 30, 5]
    assert sandbox.credits_charged == 4


async def test_a_page_that_was_handed_over_does_not_come_again(client: FollowingClient) -> None:
    pager = client.following("nasa")
    async for page in pager.pages():
        assert page.cursor is None
        break
    rest = [page async for page in pager.pages()]
    assert [len(page.accounts) for page in rest] == [30, 30, 5]


@pytest.mark.parametrize("rows", [0, 1, 29, 30, 31, 59, 60, 90, 94, 95])
async def test_a_new_pager_from_the_cursor_skips_no_row(
    client: FollowingClient, sandbox: Sandbox, rows: int
) -> None:
    pager = client.following("nasa")
    handles = [(await anext(pager)).handle for _ in range(rows)]
    rest = client.following("nasa", cursor=pager.cursor)
    handles += [account.handle async for account in rest]
    assert set(handles) == set(truth(sandbox, "nasa"))
    assert pager.complete == (rows == NASA)


@pytest.mark.parametrize(
    ("limit", "pages"), [(0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (95, 4), (96, 4), (200, 4)]
)
async def test_a_limit_buys_no_page_more_than_it_needs(
    client: FollowingClient, sandbox: Sandbox, limit: int, pages: int
) -> None:
    result = await client.following("nasa", limit=limit).collect()
    assert len(result.accounts) == min(limit, NASA)
    assert len(sandbox.requests) == result.pages == pages
    assert result.complete == (limit >= NASA)
    sandbox.requests.clear()
    assert len([account async for account in client.following("nasa", limit=limit)]) == min(
        limit, NASA
    )
    assert len(sandbox.requests) == pages


async def test_pages_within_a_limit_are_whole(client: FollowingClient, sandbox: Sandbox) -> None:
    pages = [page async for page in client.following("nasa", limit=40).pages()]
    assert [len(page.accounts) for page in pages] == [30, 30]
    assert len(sandbox.requests) == 2


async def test_a_limit_within_a_page_leaves_its_cursor_to_go_on_from(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    result = await client.following("nasa", limit=40).collect()
    assert not result.complete
    rest = await client.following("nasa", cursor=result.next_cursor).collect()
    assert [account.handle for account in rest.accounts] == truth(sandbox, "nasa")[30:]


@pytest.mark.parametrize("max_pages", [0, 1, 3, 4, 5])
async def test_max_pages_is_the_most_that_is_bought(
    client: FollowingClient, sandbox: Sandbox, max_pages: int
) -> None:
    result = await client.following("nasa", max_pages=max_pages).collect()
    assert len(sandbox.requests) == min(max_pages, 4)
    assert result.complete == (max_pages >= 4)


@pytest.mark.parametrize(
    ("handle", "status"),
    [
        ("hidden.profile", LookupStatus.HIDDEN),
        ("private.profile", LookupStatus.PRIVATE),
        ("missing.profile", LookupStatus.NOT_FOUND),
    ],
)
async def test_a_profile_that_shows_nothing_is_an_answer_and_not_an_error(
    client: FollowingClient, sandbox: Sandbox, handle: str, status: LookupStatus
) -> None:
    pager = client.following(handle)
    assert [account async for account in pager] == []
    assert (pager.status, pager.total, pager.complete) == (status, None, True)
    assert sandbox.credits_charged == pager.usage.credits_charged == 1
    assert pager.usage.outcomes == {status.value: 1}
    result = await pager.collect()
    with pytest.raises(ProfileUnavailableError) as caught:
        result.raise_for_status()
    assert (caught.value.handle, caught.value.status) == (handle, status)


async def test_raise_for_status_raises_as_often_as_it_is_asked(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    pager = client.following("hidden.profile", raise_for_status=True)
    for _ in range(2):
        with pytest.raises(ProfileUnavailableError) as caught:
            await pager.collect()
        assert caught.value.partial is not None
    assert len(sandbox.requests) == 1
    result = await client.following("nasa", raise_for_status=True).collect()
    assert result.raise_for_status() is result


async def test_an_unknown_status_survives_as_itself(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.reshaped(change_status("on_holiday")))
    pager = client.following("nasa")
    assert [account async for account in pager] == []
    assert pager.status == "on_holiday"


async def test_a_status_that_changes_in_mid_list_ends_it_incomplete(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    second = (await client.following_page("nasa")).next_cursor
    sandbox.script(faults.reshaped(change_status("private")), cursor=second)
    result = await client.following("nasa").collect()
    assert (result.status, result.complete, len(result.accounts)) == ("private", False, 30)
    assert result.next_cursor == second
    assert result.total == NASA


async def test_a_total_that_moves_is_told_as_it_was_last(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    def grow(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["totalAccounts"] = 1000
        return body

    last = [page async for page in client.following("nasa").pages()][-1]
    sandbox.script(faults.reshaped(grow), cursor=last.cursor)
    result = await client.following("nasa").collect()
    assert (result.total, len(result.accounts), result.complete) == (1000, NASA, True)


@pytest.mark.parametrize("distance", [1, 2, 3])
async def test_a_cursor_that_comes_back_from_any_distance_ends_the_list(
    client: FollowingClient, sandbox: Sandbox, distance: int
) -> None:
    cursors = [page.cursor async for page in client.following("nasa").pages()]
    paid = sandbox.credits_charged
    sandbox.script(faults.repeated_cursor(cursors[4 - distance]), cursor=cursors[3])
    pager = client.following("nasa")
    with pytest.raises(PaginationError, match="followed before") as caught:
        await pager.collect()
    assert caught.value.partial is not None
    handles = [account.handle for account in caught.value.partial.accounts]
    assert handles == truth(sandbox, "nasa")
    assert (caught.value.handle, caught.value.cursor) == ("nasa", cursors[4 - distance])
    assert sandbox.credits_charged == paid + 4


async def test_a_first_page_that_points_to_its_own_cursor_ends_the_list(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    cursor = (await client.following_page("nasa")).next_cursor
    sandbox.script(faults.repeated_cursor(), cursor=cursor)
    with pytest.raises(PaginationError):
        await client.following("nasa", cursor=cursor).collect()


@pytest.mark.parametrize("cursor", [None, ""])
async def test_more_without_a_cursor_is_an_error_after_the_rows(
    client: FollowingClient, sandbox: Sandbox, cursor: str | None
) -> None:
    second = (await client.following_page("nasa")).next_cursor
    sandbox.script(faults.reshaped(change_page(nextCursor=cursor, hasMore=True)), cursor=second)
    with pytest.raises(PaginationError, match="no cursor") as caught:
        await client.following("nasa", cursor=second).collect()
    assert (caught.value.handle, caught.value.cursor) == ("nasa", second)
    assert caught.value.partial is not None
    assert len(caught.value.partial.accounts) == 30
    assert len(sandbox.requests) == 2


async def test_a_cursor_without_more_is_not_followed(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.reshaped(change_page(hasMore=False)))
    result = await client.following("nasa").collect()
    assert result.complete
    assert len(sandbox.requests) == 1


async def test_an_error_out_of_collect_has_what_was_paid_for_and_collect_goes_on(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    third = [page async for page in client.following("nasa").pages()][2].cursor
    sandbox.script(faults.status(500), faults.status(500), cursor=third)
    pager = client.following("nasa")
    with pytest.raises(ServerError) as caught:
        await pager.collect()
    partial = caught.value.partial
    assert partial is not None
    assert [account.handle for account in partial.accounts] == truth(sandbox, "nasa")[:60]
    assert (partial.next_cursor, partial.complete, partial.pages) == (third, False, 2)
    result = await pager.collect()
    assert [account.handle for account in result.accounts] == truth(sandbox, "nasa")
    assert await pager.collect() == result


async def test_a_cancelled_collect_goes_on_without_buying_again(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    third = [page async for page in client.following("nasa").pages()][2].cursor
    gate = Gate()
    sandbox.script(faults.hold(gate), cursor=third)
    pager = client.following("nasa")
    task = asyncio.create_task(pager.collect())
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.release()
    assert pager.usage.credits_at_risk == 1
    assert [account.handle for account in pager.partial.accounts] == truth(sandbox, "nasa")[:60]
    assert repr(pager) == "<FollowingPager nasa: 60 rows of 2 pages>"
    result = await pager.collect()
    assert [account.handle for account in result.accounts] == truth(sandbox, "nasa")
    assert (result.usage.credits_charged, result.usage.credits_at_risk) == (4, 1)


async def test_tasks_that_share_a_pager_share_its_pages(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    pager = client.following("nasa")

    async def read() -> list[str]:
        return [account.handle async for account in pager]

    shares = await asyncio.gather(*(read() for _ in range(5)))
    assert sorted(chain(*shares)) == sorted(truth(sandbox, "nasa"))
    assert sandbox.credits_charged == 4

    async def read_pages() -> int:
        return len([page async for page in pages.pages()])

    pages = client.following("nasa")
    assert sum(await asyncio.gather(*(read_pages() for _ in range(5)))) == 4
    assert sandbox.credits_charged == 8


async def test_who_waited_for_the_page_of_another_task_goes_on_without_it(
    client: FollowingClient,
) -> None:
    pager = client.following("nasa")

    async def read_one() -> str:
        return (await anext(pager)).handle

    async def read_the_rest() -> list[str]:
        return [account.handle async for account in pager]

    one, rest = await asyncio.gather(read_one(), read_the_rest())
    assert len([one, *rest]) == NASA


async def test_a_budget_of_its_own_ends_a_list_with_what_it_bought(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    with pytest.raises(BudgetExceededError, match="max_credits=2") as caught:
        await client.following("nasa", max_credits=2).collect()
    assert caught.value.partial is not None
    assert len(caught.value.partial.accounts) == 60
    assert sandbox.credits_charged == 2
    assert client.usage.credits_charged == 2


async def test_trim_and_cursor_are_sent_and_nothing_else(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    page = await client.following_page("nasa")
    await client.following_page("nasa", cursor=page.next_cursor, trim=True)
    first, second = sandbox.requests
    assert (first.cursor, first.trim) == (None, None)
    assert (second.cursor, second.trim) == (page.next_cursor, "true")
    result = await client.following("nasa", trim=True, limit=1).collect()
    assert result.accounts[0].sec_uid is None


async def test_impossible_options_are_refused_before_anything_is_sent(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    for options in (
        {"limit": -1},
        {"max_pages": 1.5},
        {"max_credits": True},
        {"cursor": ""},
        {"cursor": 7},
        {"cursor": "\ud800"},
        {"cursor": "1\udfff"},
    ):
        (name,) = options
        with pytest.raises(ConfigurationError, match=f"^{name} must be "):
            client.following("nasa", **options)
    with pytest.raises(InvalidHandleError):
        client.following("..")
    with pytest.raises(ConfigurationError):
        await client.following_page("nasa", cursor="")
    assert sandbox.requests == []


@pytest.mark.parametrize("cursor", ["Zürich", "\ud7ff", "\ue000", "a b&c=d"])
async def test_a_cursor_may_be_any_text_that_can_be_sent(
    client: FollowingClient, sandbox: Sandbox, cursor: str
) -> None:
    with pytest.raises(BadRequestError):  # it was never handed out, as the sandbox says
        await client.following("nasa", cursor=cursor).collect()
    assert sandbox.requests[0].cursor == cursor


async def test_a_page_that_cannot_be_read_is_no_part_of_the_list(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client()
    sandbox.script(faults.malformed())
    pager = client.following("nasa")
    with pytest.raises(ResponseDecodeError):
        await pager.collect()
    assert len((await pager.collect()).accounts) == NASA


async def test_a_list_of_no_accounts_is_complete(client: FollowingClient) -> None:
    result = await client.following("empty.profile").collect()
    assert (result.status, result.total, result.accounts) == (LookupStatus.FOUND, 0, [])
    assert result.complete


async def test_an_own_profile_of_the_sandbox_is_read_as_set(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    rows = sandbox.profile("nasa").accounts[:7]
    sandbox.set_profile("mine", Profile(status="found", total=7, accounts=rows))
    result = await client.following("mine").collect()
    assert [account.to_dict()["handle"] for account in result.accounts] == [
        row["handle"] for row in rows
    ]
