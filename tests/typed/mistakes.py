"""What a type checker must object to: each line that is wrong says so, and must be."""

from tiktok_following import FollowingClient, FollowingStore, LookupState, StoppedBy, sync

FollowingClient(1)  # type: ignore[arg-type]
FollowingClient("sfk_test_1", "https://api.test")  # type: ignore[call-arg]
FollowingClient(max_credits="5")  # type: ignore[arg-type]
sync.FollowingClient(max_credits="5")  # type: ignore[arg-type]
sync.FollowingClient(on_event=lambda: None)  # type: ignore[arg-type,misc]
sync.FollowingClient(no_such_option=1)  # type: ignore[call-arg]


async def use(client: FollowingClient) -> None:
    await client.following_page(5)  # type: ignore[arg-type]
    await client.following_page("nasa", limit=5)  # type: ignore[call-arg]
    client.following("nasa", "cursor")  # type: ignore[call-arg]
    client.following_many([1])  # type: ignore[list-item]
    client.following_many(["nasa"], on_insufficient_credits="sleep")  # type: ignore[arg-type]
    for _ in client.following("nasa"):  # type: ignore[attr-defined]
        pass
    with client:  # type: ignore[attr-defined]
        pass
    async with client.following_many([]) as run:
        if run.stopped_by == "no_such_reason":  # type: ignore[comparison-overlap]
            pass


def use_without_a_loop(client: sync.FollowingClient) -> None:
    client.following_page(5)  # type: ignore[arg-type]
    client.following_page("nasa", limit=5)  # type: ignore[call-arg]
    client.following("nasa", limits=5)  # type: ignore[call-arg]
    client.following_many(["nasa"], storage="a.db")  # type: ignore[call-arg]
    client.balance(1)  # type: ignore[call-arg]
    with client.following_many([1]):  # type: ignore[list-item]
        pass


def use_store(store: FollowingStore) -> None:
    state: LookupState = "done"  # type: ignore[assignment]
    reason: StoppedBy = "crash"  # type: ignore[assignment]
    for lookup in store.lookups():
        if lookup.state == "done":  # type: ignore[comparison-overlap]
            assert state != reason
    for run in store.runs():
        if run.stopped_by == "crashed":  # type: ignore[comparison-overlap]
            assert run
