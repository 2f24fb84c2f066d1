"""The command ``balance``."""

from tiktok_following._models import Balance

from ._exit import DONE
from ._messages import Messages
from ._options import JsonOption, SandboxOption, VerboseOption
from ._output import Output
from ._run import open_client, run
from ._words import clean


def balance(
    *, sandbox: SandboxOption = False, json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Show how many credits the API key has. Free."""
    run(_show_balance(sandbox=sandbox, json=json), Messages(verbose=verbose))


async def _show_balance(*, sandbox: bool, json: bool) -> int:
    output = Output()
    async with open_client(sandbox=sandbox) as client:
        answer = await client.balance()
    if json:
        output.write_json(answer.to_dict())
    else:
        output.write_text(_describe(answer))
    return DONE


def _describe(balance: Balance) -> str:
    """Say what is told, a line each; a plan and its state in one."""
    plan = balance.subscription
    lines: list[tuple[str, int | str | None]] = [
        ("credits", balance.balance),
        ("pay-as-you-go", balance.payg),
        ("pay-as-you-go, spendable", balance.payg_spendable),
        ("owed", balance.grace_debt_credits),
        ("subscription, left", balance.subscription_included_remaining),
        ("subscription, included", balance.subscription_included_total),
        ("refill", balance.refill_state),
        ("billing alert", balance.billing_alert),
        ("payments", balance.collection_status),
        ("plan", None if plan is None else f"{plan.tier}, {plan.status} until {plan.period_end}"),
    ]
    return "".join(
        f"{name + ':':<26}{clean(value) if isinstance(value, str) else format(value, ',')}\n"
        for name, value in lines
        if value is not None
    )
