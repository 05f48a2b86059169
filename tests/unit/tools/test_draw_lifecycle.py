from pipeline.lifecycle import TRANSITIONS
from tools.draw_lifecycle import FILE, draw


def test_the_drawing_in_the_documents_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == draw(), "run `make draw`"


def test_every_edge_of_the_table_is_drawn() -> None:
    page = draw()
    for state, edges in TRANSITIONS.items():
        for event, target in edges.items():
            word = event.name.lower().replace("_", " ")
            assert any(
                word in line.partition(": ")[2].split(", ")
                for line in page.splitlines()
                if line.startswith(f"    {state} --> {target}:")
            ), (state, event)
