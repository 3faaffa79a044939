"""One session of the official Python SDK: arguments are the URL and the mode; prints what it saw as one JSON object."""

import asyncio
import json
import sys

from mcp import Client
from mcp.types import ElicitResult


async def elicit(_context, _params):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main(url, mode):
    progress = []

    async def on_progress(done, _total, _message):
        progress.append(done)

    seen = []
    async with Client(url, mode=mode, elicitation_callback=elicit) as client:
        seen.append(await client.list_tools())
        for name in ("test_simple_text", "test_image_content", "test_error_handling"):
            seen.append(await client.call_tool(name, {}))
        seen.append(await client.call_tool("test_elicitation" if mode == "legacy" else "test_input_required_result_elicitation", {"message": "Who?"}))
        await client.call_tool("test_tool_with_progress", {}, progress_callback=on_progress)
        seen.append(await client.read_resource("test://static-text"))
        seen.append(await client.get_prompt("test_prompt_with_arguments", {"arg1": "grüße", "arg2": "👋"}))
    print(json.dumps({"seen": [each.model_dump(mode="json") for each in seen], "progress": progress}))


asyncio.run(main(sys.argv[1], sys.argv[2]))
