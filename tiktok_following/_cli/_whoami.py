"""The command ``whoami``."""

from tiktok_following._models import Identity

from ._exit import DONE
from ._messages import Messages
from ._options import JsonOption, SandboxOption, VerboseOption
from ._output import Output
from ._run import open_client, run
from ._words import clean


def whoami(
    *, sandbox: SandboxOption = False, json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Show who the API key belongs to. Free."""
    run(_show_identity(sandbox=sandbox, json=json), Messages(verbose=verbose))


async def _show_identity(*, sandbox: bool, json: bool) -> int:
    output = Output()
    async with open_client(sandbox=sandbox) as client:
        answer = await client.whoami()
    if json:
        output.write_json(answer.to_dict())
    else:
        output.write_text(_describe(answer))
    return DONE


def _describe(identity: Identity) -> str:
    lines = [("id", identity.id), ("name", identity.name), ("email", identity.email)]
    return "".join(f"{name + ':':<7}{clean(text)}\n" for name, text in lines if text is not None)
