"""Renaming under failures and kills: nothing is lost, and all files are renamed or none."""

from file_names import OPERATIONS, fits, any_text


import itertools
import os
import re
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.data import list_images
from cnnkit._foundation.journals import check_settled, renamed, settle

NAMES = [
    "cat.png",
    "Cat.png",
    " cat.png",
    "고양이.png",
    unicodedata.normalize("NFD", "고양이.png"),
    "😀.webp",
    "new\nline.png",
    "quotes'\".png",
    "back\\slash.png",
    "{}%s.png",
    os.fsdecode(b"\xff\xfe.png"),
    "x" * 251 + ".png",
    "-rf",
    ".hidden.png",
    "cnnkit-move-0",
    ".cnnkit-move-0.png",
    ".cnnkit-moves.json",  # only at the top does this name mean anything
]


file_names = st.one_of(st.sampled_from(NAMES), any_text.filter(fits))


@st.composite
def plans(draw):
    """Draw files' names and new ones for them: swaps, cycles, chains and fresh names."""
    plan = {}
    for folder in ("a", "b"):
        old = draw(st.lists(file_names, max_size=4, unique=True))
        fresh = draw(st.lists(file_names, max_size=2))
        new = draw(st.permutations(list(dict.fromkeys(old + fresh))))
        plan |= {f"{folder}/{one}": f"{folder}/{other}" for one, other in zip(old, new)}  # noqa: B905
    return plan


def moved(plan, tree):
    return {plan.get(name, name): content for name, content in tree.items()}


def carry_out(root, plan):
    moves = {root / old: root / new for old, new in plan.items() if old != new}
    return renamed(root, moves, dry_run=False)


PLAN = {"a/1": "a/2", "a/2": "a/1", "a/3": "a/4", "a/4": "a/5", "b/1": "b/2"}


def run_plan(root):
    carry_out(root, PLAN)


class TestPlans:
    """A plan is either carried out completely or refused."""

    @settings(deadline=None, max_examples=50)  # a busy machine is no failure
    @given(plans())
    @example(PLAN)
    def test_every_file_gets_its_name(self, folder_of, snapshot, plan):
        """Contents go along with names, for any names, and other files stay."""
        with folder_of([*plan, "a/stays", "c/stays"]) as root:
            expected = moved(plan, snapshot(root))

            carry_out(root, plan)

            assert expected == snapshot(root)

    @pytest.mark.parametrize("dry_run", [False, True])
    @pytest.mark.parametrize(
        "plan",
        [{"a/1": "a/3", "a/2": "a/3"}, {"a/1": "a/4", "a/2": "a/taken"}, {"a/1": "a/folder"}],
    )
    def test_taken_names_are_refused(self, plan, dry_run, folder_of, snapshot):
        """A name that something keeps or that two would get is no free name."""
        with folder_of(["a/1", "a/2", "a/taken", "a/folder/1"]) as root:
            before = snapshot(root)
            moves = {root / old: root / new for old, new in plan.items()}

            with pytest.raises(FileExistsError, match="New names must be free"):
                renamed(root, moves, dry_run=dry_run)

            assert before == snapshot(root)

    def test_five_taken_names_are_told(self, folder_of):
        """The error lists five names at most."""
        with folder_of([f"a/{number}" for number in range(14)]) as root:
            moves = {root / f"a/{number}": root / f"a/{number + 7}" for number in range(7)}
            told = ", ".join(repr(f"{root}/a/{number}") for number in range(7, 11))
            text = (
                f"New names must be free. Received: {told} or {f'{root}/a/11'!r}, which another "
                "file or folder already has or would also get. Nothing was renamed. Move that one "
                "away first."
            )

            with pytest.raises(FileExistsError, match=f"^{re.escape(text)}$"):
                renamed(root, moves, dry_run=False)

    @pytest.mark.parametrize("number", range(4))
    def test_hidden_name_that_is_taken(self, number, folder_of, snapshot):
        """A hidden name left by an earlier renaming does not block later ones forever."""
        hidden = f"a/.cnnkit-move-{number}"
        with folder_of([*PLAN, hidden]) as root:
            before = snapshot(root)

            with suppress(FileExistsError):
                run_plan(root)
            settle(root)

            assert snapshot(root) in (before, moved(PLAN, before))


class TestFailures:
    """A failure midway is undone, and no hidden names remain."""

    @settings(deadline=None, max_examples=30)  # a busy machine is no failure
    @given(plans())
    def test_failing_rename(self, folder_of, snapshot, failing, plan):
        """Whichever renaming fails, every file has the name that it had before."""
        moves = sum(old != new for old, new in plan.items())
        with folder_of(plan) as root:
            before = snapshot(root)
            for at in range(1, 2 * moves + 1):
                with failing(at, operations=["rename"]), pytest.raises(OSError, match="broken"):
                    carry_out(root, plan)

                assert before == snapshot(root)

    @pytest.mark.parametrize(
        "operation",
        [
            "write_text",
            "replace",
            "unlink",
        ],
    )
    def test_failing_journal(self, operation, folder_of, snapshot, failing):
        """It is the same where the journal can't be written or removed, say on a full disk."""
        with folder_of(PLAN) as root:
            before = snapshot(root)
            for at in itertools.count(1):
                with failing(at, operations=[operation]) as seen, suppress(OSError):
                    run_plan(root)
                if seen.count < at:
                    break

                assert before == snapshot(root)

        assert at > 1

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_failure_never_loses_a_file(self, operation, folder_of, snapshot, files_of, failing):
        """Whatever fails, no file is lost, and the next successful call recovers."""
        for at in itertools.count(1):
            with folder_of(PLAN) as root:
                before = snapshot(root)
                with failing(at, operations=[operation]) as seen, suppress(OSError):
                    run_plan(root)
                if seen.count < at:
                    break
                assert files_of(before) == files_of(snapshot(root))

                settle(root)

                assert files_of(before) == files_of(snapshot(root))
                assert snapshot(root).keys() - {".cnnkit-moves.json.partial"} in (
                    before.keys(),
                    moved(PLAN, before).keys(),
                )

        assert at > 1


class TestKills:
    """The next call undoes or finishes what a killed process left."""

    @settings(deadline=None, max_examples=8)  # a busy machine is no failure
    @given(plans())
    @example(PLAN)
    def test_settled_whole_or_not_at_all(self, folder_of, snapshot, files_of, killed, plan):
        """Whenever it is killed, no file is lost, and all files have old names or all new ones."""
        with folder_of(plan) as root:
            before = snapshot(root)
        steps = 0
        for root in killed(lambda root: carry_out(root, plan), plan):
            steps += 1
            assert files_of(before) == files_of(snapshot(root))

            settle(root)

            # A journal that was killed while it was written may lie there: nothing has moved then.
            left = {k: v for k, v in snapshot(root).items() if not k.endswith(".json.partial")}
            assert left in (before, moved(plan, before))

        moves = sum(old != new for old, new in plan.items())
        assert steps >= 4 * moves

    def test_settling_leaves_no_hidden_name(self, killed):
        """A partial journal is removed, too."""
        for root in killed(run_plan, PLAN):
            settle(root)

            assert not list(root.glob(".cnnkit*"))

    def test_killed_while_settling(self, folder_of, snapshot, files_of, killing, killed):
        """A second kill during recovery from a first one does no harm, wherever both happen."""
        plan = {"a/1": "a/2", "a/2": "a/3", "b/1": "b/2", "b/2": "b/1"}
        with folder_of(plan) as root:
            before = snapshot(root)
        steps = []

        for at in itertools.count(1):
            hits = 0
            # A kill after an operation leaves the same files as one before the next operation.
            for root in killed(lambda root: carry_out(root, plan), plan, moments=[False]):
                with killing(at) as seen:
                    settle(root)
                hits += seen.count >= at
                assert files_of(before) == files_of(snapshot(root))

                settle(root)

                left = snapshot(root)
                left.pop(".cnnkit-moves.json.partial", None)
                assert left in (before, moved(plan, before))
            if not hits:
                break
            steps.append(hits)

        assert len(steps) > 2 * len(plan)
        assert sum(steps) > 50

    @pytest.mark.parametrize("change", ["one more", "one less"])
    def test_changed_after_a_kill(self, change, folder_of, snapshot, killing):
        """After a kill, a file added under a new name is kept, and a deleted one stays deleted."""
        with folder_of(["a/1", "a/2"]) as root:
            before = snapshot(root)
            moves = {root / "a/1": root / "a/3", root / "a/2": root / "a/4"}
            with killing(4, operations=["rename"]):
                renamed(root, moves, dry_run=False)
            if change == "one more":
                (root / "a/4").write_text("new")
                before["a/4"] = b"new"
            else:
                (root / "a/3").unlink()
                del before["a/1"]

            settle(root)

            assert before == snapshot(root)

    def test_listing_after_a_kill(self, killed):
        """A folder with files under hidden names isn't listed as if they were gone."""
        refusals = 0
        for root in killed(run_plan, PLAN):
            if (root / ".cnnkit-moves.json").exists():
                refusals += 1
                with pytest.raises(ValueError, match="renaming was interrupted"):
                    list_images(root)

        assert refusals > 4 * len(PLAN)

    def test_what_is_not_settled_is_told(self, snapshot, killed):
        """check_settled raises an error if an interrupted renaming has to be undone."""
        refusals = 0
        for root in killed(run_plan, PLAN):
            if not (root / ".cnnkit-moves.json").exists():
                continue
            before = snapshot(root)

            text = (
                "The folder must not contain an unfinished renaming. Received: "
                f"{str(root)!r}, where a renaming was interrupted and some files have hidden "
                "names. Call `renumber_files` or `rename_classes` without dry_run=True; they undo "
                "it first."
            )
            with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
                check_settled(root)

            assert before == snapshot(root)
            refusals += 1

        assert refusals > 4 * len(PLAN)

    def test_name_that_was_taken_meanwhile(self, folder_of, snapshot, killing):
        """Recovery overwrites nothing, and succeeds once the name is free."""
        with folder_of(["a/1", "a/2"]) as root:
            with killing(4):
                carry_out(root, {"a/1": "a/2", "a/2": "a/1"})
            (root / "a/1").write_bytes(b"meanwhile")

            with pytest.raises(
                FileExistsError, match="already exists\\. Move that .* the unfinished renaming\\.$"
            ):
                settle(root)
            assert b"meanwhile" == (root / "a/1").read_bytes()
            (root / "a/1").rename(root / "a/3")
            settle(root)

            assert {"a", "a/1", "a/2", "a/3"} == snapshot(root).keys()
            assert b"a/1" == (root / "a/1").read_bytes()

    def test_folder_that_was_moved_meanwhile(self, folder_of, snapshot, killing):
        """The journal goes along with the folder."""
        with folder_of(["old/x"]) as root:
            (root / "old" / "b").mkdir()
            (root / "old" / "b" / "1").write_bytes(b"b/1")
            with killing(2, operations=["rename"]):
                carry_out(root / "old", {"b/1": "b/2"})
            (root / "old").rename(root / "new")

            settle(root / "new")

            assert {"new", "new/x", "new/b", "new/b/1"} == snapshot(root).keys()
