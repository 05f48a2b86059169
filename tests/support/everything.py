"""A folder with messages in every state that there is so far."""

from pipeline.lifecycle import Event
from tests.support.filled_folder import FilledFolder


async def everything(folder: FilledFolder) -> None:
    """Messages in every state that there is so far; some are journaled and no more."""
    await folder.send(await folder.accept(6, group="spring"))
    lost = await folder.accept(2, group="spring")
    await folder.append(lost, Event.CLAIM)
    await folder.append(lost, Event.LOSE_ANSWER, detail="the disk is full")
    await folder.finish()
    await folder.append(await folder.accept(3, group="summer"), Event.CLAIM)  # a crash comes here
    folder.clock.advance(50)
    await folder.accept(4, group="summer", channel="email", recipient="ann{n}@example.com")
