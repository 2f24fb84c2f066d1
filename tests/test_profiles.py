"""What the sandbox's invented profiles promise, without HTTP."""

from typing import Any

import contract
import orjson
import pytest

from tiktok_following.sandbox import NAMED_HANDLES, Profile, profiles as profiles_module
from tiktok_following.sandbox.profiles import World


def walk(world: World, handle: str, size: int = 30) -> list[dict[str, Any]]:
    """Return the ``data`` of every page."""
    pages: list[dict[str, Any]] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        page = world.page(handle, cursor, size, trim=False)
        assert page is not None
        pages.append(orjson.loads(page))
        cursor = pages[-1]["page"]["nextCursor"]
    return pages


def accounts_of(world: World, handle: str) -> list[dict[str, Any]]:
    return world.profile(handle).accounts


def test_the_same_seed_gives_the_same_world() -> None:
    one, two = World(7, (0, 90)), World(7, (0, 90))
    for handle in ("nasa", "someone.else", "third"):
        assert one.page(handle, None, 30, trim=False) == two.page(handle, None, 30, trim=False)
        assert one.profile(handle) == two.profile(handle)


def test_another_seed_gives_other_accounts() -> None:
    assert accounts_of(World(1, (0, 9)), "nasa") != accounts_of(World(2, (0, 9)), "nasa")


def test_a_world_does_not_change_between_machines() -> None:
    first = accounts_of(World(0, (0, 9)), "nasa")[0]
    assert first["handle"] == "yuna.draywood4423"
    assert first["metrics"] == {"followers": 2689256, "following": 2570, "posts": 780}


def test_a_handle_is_the_same_in_any_case() -> None:
    world = World(0, (0, 90))
    assert world.profile("SomeOne") == world.profile("someone")
    page = world.page("NASA", None, 30, trim=False)
    assert page == world.page("nasa", None, 30, trim=False)


@pytest.mark.parametrize(
    ("handle", "status", "total"),
    [
        ("nasa", "found", 95),
        ("hidden.profile", "hidden", None),
        ("private.profile", "private", None),
        ("missing.profile", "not_found", None),
        ("empty.profile", "found", 0),
        ("boundary.duplicates", "found", 75),
        ("large.profile", "found", 4_000),
    ],
)
@pytest.mark.parametrize("seed", [0, 99])
def test_a_named_handle_is_what_its_name_says(
    handle: str, status: str, total: int | None, seed: int
) -> None:
    profile = World(seed, (5, 5)).profile(handle)
    assert (profile.status, profile.total) == (status, total)
    assert len(profile.accounts) == (total or 0)


def test_every_named_handle_is_described() -> None:
    world = World(0, (1, 1))
    assert list(NAMED_HANDLES) == list(world._named)
    assert all(NAMED_HANDLES.values())


def test_totals_bound_every_invented_list() -> None:
    world = World(3, (10, 20))
    found = [world.profile(f"user{number}") for number in range(300)]
    totals = {profile.total for profile in found if profile.status == "found"}
    assert totals == set(range(10, 21))


def test_most_profiles_are_found_and_every_status_occurs() -> None:
    world = World(0, (0, 2))
    statuses = [world.profile(f"user{number}").status for number in range(500)]
    assert set(statuses) == {"found", "hidden", "private", "not_found"}
    assert statuses.count("found") > 400


def test_a_walk_serves_every_account_once_and_in_order() -> None:
    world = World(0, (0, 9))
    pages = walk(world, "nasa")
    assert [len(page["accounts"]) for page in pages] == [30, 30, 30, 5]
    served = [account for page in pages for account in page["accounts"]]
    assert served == accounts_of(world, "nasa")
    assert len({account["handle"] for account in served}) == 95
    assert [page["totalAccounts"] for page in pages] == [95] * 4
    assert [page["page"]["hasMore"] for page in pages] == [True, True, True, False]


def test_pages_are_what_a_walk_is_served() -> None:
    world = World(0, (0, 9))
    for handle in ("nasa", "boundary.duplicates", "hidden.profile", "empty.profile"):
        walked = [page["accounts"] for page in walk(world, handle, 25)]
        assert world.pages(handle, 25) == walked


def test_a_boundary_account_comes_again_on_the_next_page() -> None:
    pages = World(0, (0, 9)).pages("boundary.duplicates", 30)
    assert [len(page) for page in pages] == [30, 30, 17]
    assert pages[0][-1] == pages[1][0]
    assert pages[1][-1] == pages[2][0]
    assert len({account["handle"] for page in pages for account in page}) == 75


def test_an_overlap_as_long_as_a_page_still_ends() -> None:
    pages = World(0, (0, 9)).pages("boundary.duplicates", 1)
    assert len(pages) == 75


def test_cursors_look_like_falling_moments() -> None:
    world = World(0, (0, 9))
    cursors = [page["page"]["nextCursor"] for page in walk(world, "large.profile", 100)][:-1]
    assert all(len(cursor) == 10 for cursor in cursors)
    moments = [int(cursor) for cursor in cursors]
    assert moments == sorted(moments, reverse=True)


@pytest.mark.parametrize(
    "cursor", ["x", "", "1742744536", "-1", "9999999999", "\u0661\u0667", " 1"]
)
def test_a_cursor_that_was_never_handed_out_is_no_page(cursor: str) -> None:
    assert World(0, (0, 9)).page("nasa", cursor, 30, trim=False) is None


def test_a_cursor_belongs_to_its_handle() -> None:
    world = World(0, (0, 9))
    cursor = walk(world, "nasa")[0]["page"]["nextCursor"]
    assert world.page("large.profile", cursor, 30, trim=False) is None


def test_trimming_leaves_out_the_optional_keys_alone() -> None:
    world = World(0, (0, 9))
    trimmed = world.page("nasa", None, 30, trim=True)
    assert trimmed is not None
    required = contract.CONTRACT["components"]["schemas"]["Account"]["required"]
    for short, full in zip(
        orjson.loads(trimmed)["accounts"], accounts_of(world, "nasa"), strict=False
    ):
        assert short == {key: full[key] for key in required}


def test_accounts_are_as_varied_as_real_ones() -> None:
    accounts = accounts_of(World(0, (0, 9)), "large.profile")
    dates = [account.get("accountCreatedAt") for account in accounts]
    assert {type(date) for date in dates} == {int, str, type(None)}
    bios = [account["bio"] for account in accounts]
    assert {None, ""} < set(bios)
    assert any("\n" in (bio or "") for bio in bios)
    assert {account["verified"] for account in accounts} == {True, False}
    assert {account.get("privateAccount") for account in accounts} == {True, False, None}
    names = [account["displayName"] for account in accounts]
    assert any(name is None for name in names)
    assert any("\u0600" < (name or "a")[0] < "\u06ff" for name in names)
    assert any(account["avatarUrl"] is None for account in accounts)
    assert all(len(account["platformUserId"]) == 19 for account in accounts)
    assert len({account["secUid"] for account in accounts}) == 4_000
    assert all(len(account["handle"]) <= 24 for account in accounts)
    assert any("details" not in account for account in accounts)


def test_every_invented_page_keeps_the_contract() -> None:
    world = World(5, (0, 200))
    for handle in [*NAMED_HANDLES, *(f"user{number}" for number in range(12))]:
        page = world.page(handle, None, 30, trim=False)
        assert page is not None
        contract.check("FollowingData", orjson.loads(page))


def test_a_profile_of_ones_own_is_served_as_it_is() -> None:
    world = World(0, (0, 9))
    mine = accounts_of(world, "nasa")[:3]
    world.set_profile("Mine", Profile(accounts=mine))
    assert world.profile("mine").accounts == mine
    assert world.profile("mine").total == 3
    pages = walk(world, "MINE", 2)
    assert [page["accounts"] for page in pages] == [mine[:2], mine[2:]]
    trimmed = world.page("mine", None, 2, trim=True)
    assert trimmed is not None
    assert "secUid" not in orjson.loads(trimmed)["accounts"][0]


def test_a_profile_may_claim_another_total_than_it_has() -> None:
    world = World(0, (0, 9))
    world.set_profile("mine", Profile(total=12))
    assert walk(world, "mine")[0]["totalAccounts"] == 12
    world.set_profile("mine", Profile(total=None))
    assert walk(world, "mine")[0]["totalAccounts"] is None


def test_a_profile_that_is_not_found_shows_no_accounts_and_no_total() -> None:
    world = World(0, (0, 9))
    world.set_profile("gone", Profile(status="private", accounts=accounts_of(world, "nasa")))
    (page,) = walk(world, "gone")
    assert page["accounts"] == []
    assert page["totalAccounts"] is None


def test_a_list_that_got_shorter_ends_with_an_empty_page() -> None:
    world = World(0, (0, 9))
    accounts = accounts_of(world, "nasa")
    world.set_profile("mine", Profile(accounts=accounts[:40]))
    cursor = walk(world, "mine")[0]["page"]["nextCursor"]
    world.set_profile("mine", Profile(accounts=accounts[:20]))
    page = world.page("mine", cursor, 30, trim=False)
    assert page is not None
    data = orjson.loads(page)
    assert data["accounts"] == []
    assert data["page"] == {"nextCursor": None, "hasMore": False}


@pytest.mark.parametrize(
    "wrong", [{"status": "lost"}, {"total": -1}, {"total": "9"}, {"overlap": -1}]
)
def test_a_profile_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Profile(**wrong)


@pytest.mark.parametrize("totals", [(-1, 3), (4, 3)])
def test_totals_that_make_no_sense_are_refused(totals: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="totals must be"):
        World(0, totals)


def test_memory_for_serialised_accounts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles_module, "_FRAGMENTS_KEPT", 50)
    world = World(0, (0, 9))
    assert len(world.pages("large.profile", 100)) == 40
    assert len(world._fragments) == 50
