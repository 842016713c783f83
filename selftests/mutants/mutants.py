# SPDX-License-Identifier: GPL-2.0-only
"""Rules of Documentation/rules.rst, each with what is done without it."""

import dataclasses

RCT = "kmod/core/rct"


@dataclasses.dataclass
class Mutant:
    """One rule, or several that back each other."""

    name: str
    rule: str
    # Steps that the driver of the simulation does without.
    without: tuple = ()
    # (file, text that it has once, text instead).
    edits: tuple = ()
    # What catches it, if not the simulation: unit/SUITE, or a suite of a machine.
    by: str = None
    # A case that only long runs have.
    long: bool = False


# Steps of the driver: their texts are in selftests/crash/simulation/rules.h.
STEPS = [
    Mutant(name, rule, without=(name,)) for name, rule in (
        ("slot_first", "T1: a write is in flight before its first mark"),
        ("sample", "T1: writes in flight are marked in the new live map"),
        ("graceful_seal", "T1: a grace period after the exchange of the maps"),
        ("exchange_first", "T2: the exchange comes before the container's commit"),
        ("commit", "T2: a full commit of the container, before the sidecar's"),
        ("pending", "T2: a point is pending before it is issued"),
        ("confirmation", "T2: the id is given out after the confirmation"),
        ("or_back", "T2: the maps are joined when a seal fails"),
        ("keep", "T3: a region with a write in flight is not cleared"),
        ("durable_first", "T3: cleared after the checkpoint's header is durable"),
        ("release", "T3: a write waits until its region is set, durably"),
        ("flush_regions", "T3: a flush before writes are released"),
        ("stay_set", "T4: regions stay set until a checkpoint has them"),
        ("expand", "T4: the live map has all of the regions that were set"),
        ("fresh_guid", "T5: a fresh DataWriteGuid at a seal"),
        ("fresh_at_begin", "T5: a fresh DataWriteGuid at the session's begin"),
        ("announce", "T5: the sidecar knows a DataWriteGuid before the container has it"),
        ("token", "T6: a strict sidecar is told of each header with a new DataWriteGuid"),
        ("token_first", "T6: a strict sidecar is told before the container has the header"),
        ("next_number", "T6: a strict commit of regions gives the container the next number"),
        ("invalid_first", "T7: invalidated before waiting writes are released"),
        ("look_again", "T7: no announced DataWriteGuid is written once it is invalid"),
        ("complete", "V1: a block is mapped when its data is there"),
        ("zero_around", "V1: what the first write does not cover is zero before that"),
        ("exclusive", "V1: one operation on a block at a time"),
        ("busy", "V1: its entry is busy meanwhile"),
        ("look_twice", "V1: it is looked up once more within the operation"),
        ("held_gate", "V1: a piece is inside the gate until the container is done"),
        ("flip", "V1: what looked a block up has left before it is unmapped"),
        ("quarantine", "V2: space is used again once the log drops its old mapping"),
        ("punch_late", "V2: space is given back once the log drops its old mapping"),
        ("punched_first", "V2: space is free once it was given back"),
        ("not_zero", "V2: space of a device, or that could not be punched, is not zero"),
        ("tail_cleared", "V2: what is behind the last block at attach is not zero"),
        ("cleared_ahead", "V2: what a device has is not zero until it is cleared"),
        ("zero_only", "V2: without any wait only what reads as zeroes is taken"),
        ("empty_first", "V2: a file is cut when both headers say that the log is empty"),
        ("applied_first", "V3: pages are durable in place before the next entry"),
        ("apply_counts", "V3: a page that could not be applied ends all commits"),
        ("payload_first", "V4: data is durable before the entry that leads to it"),
        ("logged_first", "V4: who waits for a commit is told when the entry is durable"),
        ("flush_commits", "V4: a flush is a commit"),
        ("fua", "V4: a FUA write is a commit where its mapping is not durable"),
        ("failure_is_final", "V4: a commit that failed is never tried again"),
        ("entry_first", "V5: LogGuid is not durable before an entry that carries it"),
        ("fresh_log", "V5: each generation has a fresh LogGuid"),
        ("size_first", "V5: a size is not in an entry before the file has it"),
        ("retire_flush", "V5: what was applied is durable before the log is empty"),
        ("replay_flush", "V5: what was replayed is durable before the log is empty"),
        ("scan", "V6: nothing is allocated before the whole BAT was seen"),
    )
]

# copy, map_inside and empty_between are backed by others, too: see Documentation/testing.rst.

# Of mark_first and graceful_clear neither was caught alone, nor both, as long as regions with
# writes in flight are kept. mark_again is not caught where writes in flight are sampled.
SETS = [
    Mutant("mark_first_and_keep",
           "T3: mark, then look; and what has a write in flight is not cleared",
           without=("mark_first", "keep")),
    Mutant("graceful_clear_and_keep",
           "T3: a grace period before saving; and what has a write in flight is not cleared",
           without=("graceful_clear", "keep")),
]

CORE = [
    Mutant("coarse", "T4: the live delta has the regions that are set",
           edits=((f"{RCT}/sidecar_live.c", "if (!err && sidecar->found)", "if (0)"),)),
    Mutant("coarse_is_told", "T4: an answer with recovered regions says so",
           edits=((f"{RCT}/sidecar_live.c", "live->flags |= VHDX_DELTA_COARSE;", ";"),)),
    Mutant("damaged_sector", "T4: what a damaged sector said is all",
           edits=((f"{RCT}/coarse.c", "memset(bits, 0xff, VHDX_COARSE_BYTES);",
                   "memset(bits, 0, VHDX_COARSE_BYTES);"),)),
    Mutant("generation", "T4: a sector newer than the header is INCONSISTENT",
           edits=((f"{RCT}/coarse.c", "if (generation > sequence)", "if (0)"),)),
    Mutant("flush_tree", "T3: the tree is durable before its header",
           edits=((f"{RCT}/sidecar_commit.c", "err = store->flush(store);", "err = 0;"),)),
    Mutant("flush_header", "T3: the header is durable before anything follows from it",
           edits=((f"{RCT}/sidecar_header.c",
                   "return err ?: sidecar->store->flush(sidecar->store);", "return err;"),)),
    Mutant("early_reuse", "T3: blocks are reused after the header that frees them is durable",
           edits=((f"{RCT}/sidecar_doomed.c", "vhdx_block_list_add(&space->doomed, block);",
                   "vhdx_sidecar_unclaim_block(sidecar, block);"),)),
    Mutant("rearm", "T3: who arms a region again cancels that it is cleared",
           edits=((f"{RCT}/regions.c", "\tregions->clearing[word] &= ~bit;\n"
                   "\tregions->cleared[word] &= ~bit;\n\tregions->fresh", "\tregions->fresh"),)),
    Mutant("taken", "T3: a write waits for a commit that is under way",
           edits=((f"{RCT}/regions.c", "\t\t\twait = max(wait, VHDX_REGIONS_TAKEN);\n", ""),)),
    Mutant("others_stay", "T3: setting a region leaves its neighbours set",
           edits=((f"{RCT}/regions.c", "regions->ondisk[i] |= regions->taken[i];",
                   "regions->ondisk[i] = regions->taken[i];"),)),
    Mutant("around_set", "T3: what is set around is in the coarse area before writes find it armed",
           edits=((f"{RCT}/regions.c",
                   "\t\t\tregions->taken[i] = with_groups(regions, i, regions->taken[i]);\n"
                   "\t\t\tregions->set += hweight64(regions->taken[i] & ~regions->ondisk[i]);\n"
                   "\t\t\tregions->ondisk[i] |= regions->taken[i];\n",
                   "\t\t\tregions->ondisk[i] |= regions->taken[i];\n"
                   "\t\t\tregions->taken[i] = with_groups(regions, i, regions->taken[i]);\n"),)),
    Mutant("around_cleared", "T3: what is being cleared beside a wanted region stays so",
           by="unit/regions",
           edits=((f"{RCT}/regions.c", "regions_in(regions, word) & ~regions->ondisk[word]);",
                   "regions_in(regions, word));"),)),
    Mutant("around_end", "T3: no region behind the disk's end is set around one",
           by="unit/regions",
           edits=((f"{RCT}/regions.c",
                   "(groups & regions_in(regions, word) & ~regions->ondisk[word]);",
                   "(groups & ~regions->ondisk[word]);"),)),
    Mutant("other_leaves", "T3: a checkpoint keeps the leaves that it does not save",
           edits=((f"{RCT}/sidecar_checkpoint.c",
                   "err = vhdx_delta_writer_put(&checkpoint->writer, entry);", "err = 0;"),)),
    Mutant("pending_counts", "T2: only an issued point counts",
           edits=((f"{RCT}/sidecar_bind.c",
                   "if (timeline->count && !timeline->points[timeline->count - 1]->issued)",
                   "if (0)"),)),
    Mutant("dropped_delta", "T2: the delta of a point that is dropped is the checkpoint",
           edits=((f"{RCT}/sidecar_points.c", "\ttimeline->live = last;\n",
                   "\ttimeline->live = (struct vhdx_delta) { };\n"),)),
    Mutant("known_guid", "T5: a DataWriteGuid that is neither current nor next is a gap",
           edits=((f"{RCT}/sidecar_bind.c",
                   "if (vhdx_guid_equal(dwg, &sidecar->current_guid))", "if (1)"),)),
    Mutant("next_guid", "T5: the one that the container was about to get is known",
           edits=((f"{RCT}/sidecar_bind.c",
                   "vhdx_guid_equal(dwg, &sidecar->next_guid);\n", "0;\n"),)),
    Mutant("borne_out", "T6: a strict sidecar is older if it was not told of the header",
           edits=((f"{RCT}/sidecar_bind.c",
                   "return sidecar->strict && !sidecar->closed && !sidecar->borne_out;",
                   "return false;"),)),
    Mutant("token_counts", "T6: a token whose sectors are older does not count",
           edits=((f"{RCT}/token.c", "commit < token->commit)", "0)"),)),
    Mutant("token_slot", "T6: a token is not written over the newest one that counts",
           edits=((f"{RCT}/sidecar_commit.c", "unsigned int slot = !state->slot;",
                   "unsigned int slot = state->slot;"),)),
    Mutant("token_flush", "T6: a token and its sectors are durable before the header",
           edits=((f"{RCT}/sidecar_commit.c", "err = err ?: store->flush(store);\n", "\n"),)),
    Mutant("joined_deltas", "Invariant 1: forgetting a point joins the deltas beside it",
           edits=((f"{RCT}/sidecar_forget.c", "\t\tvhdx_changemap_or(live, map);\n",
                   "\t\t;\n"),)),
    Mutant("kept_block", "Invariant 1: a block that is written again is not told as it was before",
           by="unit/block_cache",
           edits=((f"{RCT}/sidecar_block.c",
                   "\tvhdx_block_cache_drop(sidecar->cache, block, count);\n", ""),)),
    Mutant("missed_block", "Invariant 1: what is not in memory is not taken for unchanged",
           by="unit/delta_merge",
           edits=((f"{RCT}/sidecar_index.c",
                   "\treturn err ? err : read_block(sidecar, entry, units);\n",
                   "\treturn err ? 0 : read_block(sidecar, entry, units);\n"),)),
    Mutant("next_entry", "Invariant 1: what is next in a table is next to the leaf that was told",
           by="unit/delta_merge",
           edits=((f"{RCT}/sidecar_index.c",
                   "\treturn entries[slot->at].leaf == leaf ? &entries[++slot->at] : NULL;\n",
                   "\treturn &entries[++slot->at];\n"),)),
    Mutant("lent_leaves", "Invariant 1: who asks again for a leaf that was lent is told of it again",
           by="unit/delta_merge",
           edits=((f"{RCT}/delta_merge.c",
                   "\tmerge->passed = max(merge->passed, leaf + i);\n", ""),)),
    Mutant("linked_guid", "V7: a parent whose DataWriteGuid its child does not name is refused",
           by="unit/locator",
           edits=(("kmod/core/vhdx/locator.c",
                   "if (!is_linked(locator, &parent->header.data_write_guid))", "if (0)"),)),
    Mutant("no_memory", "T8: a leaf without memory is all changed", by="unit/changemap",
           edits=((f"{RCT}/changemap.c",
                   "return publish(map, leaf, words ? words : VHDX_LEAF_ALL);",
                   "return words ? publish(map, leaf, words) : VHDX_LEAF_ALL;"),)),
]

# A write marks the map that is live when it is done. Without a crash that is as good as being
# sampled at the exchange, so these two go together.
SECOND_MARK = ("kmod/track/inflight.c",
               "\ttell_range(atomic64_read(write->slot), mark_live, inflight);\n", "")

# The maps of several disks are exchanged within microseconds, in which no write begins and ends:
# this waits there. With the gates closed that does no harm.
LONG_EXCHANGE = ("kmod/points/seal.c",
                 "\tfor (i = 0; i < count; i++)\n\t\tvhdx_seal_exchange(&m[i].part);\n",
                 "\tfor (i = 0; i < count; i++) {\n\t\tvhdx_seal_exchange(&m[i].part);\n"
                 "\t\tschedule_timeout_uninterruptible(HZ / 50);\n\t}\n")

# A commit of few pages is one entry of the log, in whatever order they are taken: here each page
# has an entry of its own, which does no harm.
SHORT_ENTRIES = ("kmod/layer/journal.c", "j->copies, j->pages,\n\t\t\t\t\t\t      "
                 "VHDX_LOG_PAGES_MAX);", "j->copies, j->pages, 1);")

# What only the driver has. Each builds the module and boots a machine.
KERNEL = [
    Mutant("kernel_sample", "T1: writes in flight are marked in the new live map, and again",
           by="vhdx/tracking_seal:under_way",
           edits=(SECOND_MARK, ("kmod/points/seal.c", "\t\tsynchronize_rcu();\n"
                   "\t\tvhdx_inflight_sample(&first->tracker->inflight, first->new);\n",
                   "\t\tsynchronize_rcu();\n"),)),
    Mutant("kernel_slots", "T1: more writes than slots are in flight, too, and marked again",
           by="vhdx/tracking_seal:more_under_way_than_slots",
           edits=(SECOND_MARK, ("kmod/track/inflight.c",
                   "\t\ttell_range(atomic64_read(&write->own), fn, context);\n", "\t\t;\n"),)),
    Mutant("kernel_gate", "T2: of several disks, writes are parked while maps are exchanged",
           by="vhdx/tracking_seal:order_across_disks",
           edits=(LONG_EXCHANGE,
                  ("kmod/points/seal.c", "\t\tvhdx_gate_close(&vhdx_disk_of(m[i].part.tracker)"
                   "->gate, VHDX_GATE_WRITES);\n", "\t\t;\n"),
                  ("kmod/points/seal.c",
                   "\t\tvhdx_gate_open(&vhdx_disk_of(m[i].part.tracker)->gate);\n", "\t\t;\n"))),
    Mutant("kernel_commit", "T2: a full commit of the container, before the sidecar's",
           by="vhdx/tracking_seal:nothing_is_left_to_replay",
           edits=(("kmod/points/seal_part.c", "\terr = layer->mapping->commit(layer);\n",
                   "\terr = 0;\n"),)),
    Mutant("kernel_invalidate", "T7: the container gets a DataWriteGuid that the sidecar does not know",
           by="vhdx/tracking_recovery:writes_go_on_when_the_file_system_is_frozen",
           edits=(("kmod/track/failure.c",
                   "\tt->layer->mapping->invalidate(t->layer);\n", ""),)),
    Mutant("kernel_token", "T6: a strict sidecar is told of each header before the container has it",
           by="vhdx/tracking_strict:updates_of_the_log_in_between",
           edits=(("kmod/layer/header.c", "\t\ttold = tell(layer, header.sequence + 2,"
                   " copies->announce, copies->announce_to);\n", "\t\ttold = 0;\n"),)),
    Mutant("kernel_next_number", "T6: a strict commit of regions gives the container the next number",
           by="vhdx/tracking_strict:older_sidecar",
           edits=(("kmod/layer/header.c", "err = write_copies(layer, &header, told ? 2 : 1);",
                   "err = told ? write_copies(layer, &header, 2) : 0;"),)),
]

# Of chains.
CHAINS = [
    Mutant("kernel_bits", "V7: of a block that is there in part its bits say what is its own",
           by="vhdx/chains:reads_1",
           edits=(("kmod/layer/bat.c",
                   "\t\tvhdx_bitmap_look(layer, offset, wanted, write, extent);\n",
                   "\t\textent->kind = VHDX_MAPPING_DATA;\n"),)),
    Mutant("kernel_zeroes", "V7: ZERO in a child is a change, and hides what its parent has",
           by="vhdx/chains:reads_*",
           edits=(("kmod/layer/bat.c", "\telse if (state == VHDX_BLOCK_NOT_PRESENT)\n", "\telse\n"),)),
    Mutant("kernel_gaps", "V7: a block is fully present only if no sector of it is its parent's",
           by="vhdx/chains:writes_22",
           edits=(("kmod/layer/bitmap_make.c", "\t*whole = !ret;\n", "\t*whole = true;\n"),)),
    Mutant("kernel_stale_bits", "V7: bits of a block that is not there are cleared before it is",
           by="vhdx/chains:stale_bits",
           edits=(("kmod/layer/bitmap_make.c",
                   "\t\treturn each_page(layer, where, begin, end, clear);\n", "\t\treturn 0;\n"),)),
    Mutant("kernel_bits_last", "V1: bits are set when their sectors are written",
           by="debug/chain_errors:leaf_payload_write*",
           edits=(("kmod/disk/io_slow.c", "\tif (err)\n\t\tgoto fail_place;\n",
                   "\tif (err)\n\t\tgoto fail_place;\n"
                   "\tleaf->mapping->publish(leaf, io->disk_offset, io->length, &op->room, &op->pin);\n"
                   ),)),
    Mutant("kernel_sectors_first", "V4: sectors are durable before the entry that has their bits",
           by="vhdx/io_power_loss:child_on_a_device",
           edits=(("kmod/layer/journal.c", "? -EIO : store->flush(store);", "? -EIO : 0;"),)),
    Mutant("kernel_bits_first", "V7: bits are in the log with the entry of their block, or before",
           by="vhdx/io_power_loss:first_parts_of_blocks",
           edits=(SHORT_ENTRIES,
                  ("kmod/layer/pages.c", "\tlist_move_tail(&page->link, &cache->dirty);\n", ""))),
    Mutant("kernel_bitmap_first", "V7: a sector bitmap is durable before an entry needs it",
           by="vhdx/io_power_loss:first_parts_of_blocks",
           edits=(SHORT_ENTRIES,
                  ("kmod/layer/bitmap_make.c", "return is_young(bitmaps, chunk) ? -EAGAIN : 0;",
                   "return 0;"),
                  ("kmod/layer/bitmap_make.c", "READ_ONCE(page->changed_in);\n\treturn -EAGAIN;",
                   "READ_ONCE(page->changed_in);\n"
                   "\t*where = vhdx_bat_read(page, vhdx_bat_slot_of(entry_at)).offset;\n\treturn 0;"))),
]

CONTENT = "kmod/core/offline/content.c"

# Of what is derived from layers, without a sidecar: attached, and from the files.
DERIVED = [
    Mutant("derived_states", "V7: in a child every state but NOT_PRESENT is a change",
           by="unit/content",
           edits=((CONTENT, "return found != FOUND_BELOW;", "return found == FOUND_HERE;"),)),
    Mutant("derived_bits", "V7: each bit of a block that is there in part is a change",
           by="unit/content",
           edits=((CONTENT, "return here ? FOUND_HERE : FOUND_BELOW;", "return FOUND_BELOW;"),)),
    Mutant("derived_damage", "V7: what is damaged in a child is a change", by="unit/content",
           edits=((CONTENT, "\tif (found == -EUCLEAN)\n\t\treturn 1;",
                   "\tif (found == -EUCLEAN)\n\t\treturn 0;"),)),
    Mutant("derived_end", "V7: what lies behind the parent's end is a change", by="unit/history",
           edits=((f"{RCT}/derived_delta.c",
                   "\tif (offset >= delta->parent_size)\n\t\treturn 1;",
                   "\tif (offset >= delta->parent_size)\n\t\treturn 0;"),)),
    Mutant("derived_rest", "V7: a unit of which one sector changed is told", by="unit/history",
           edits=((f"{RCT}/derived_delta.c",
                   "vhdx_leaf_bits_set(units, (at - start) >> shift, behind);",
                   "vhdx_leaf_bits_set(units, (at - start) >> shift, (to - start) >> shift);"),)),
    Mutant("kernel_derived_states", "V7: in a child every state but NOT_PRESENT is a change",
           by="vhdx/timeline:every_pair*",
           edits=(("kmod/points/mapped.c", "return extent.kind != VHDX_MAPPING_PARENT;",
                   "return extent.kind == VHDX_MAPPING_DATA;"),)),
    Mutant("kernel_derived_table", "V7: and where much of the BAT is read at once",
           by="vhdx/timeline:huge",
           edits=(("kmod/layer/survey.c", "\tdefault:\n\t\treturn VHDX_MAPPING_ZERO;",
                   "\tdefault:\n\t\treturn has_parent ? VHDX_MAPPING_PARENT : "
                   "VHDX_MAPPING_ZERO;"),)),
]

# Of parents that stay as they were frozen.
FROZEN = [
    Mutant("frozen_beside", "V7: a container that a child beside it names is not written",
           by="userspace/tests:chain.parent_of_a_file_beside_it",
           edits=(("userspace/lib/children.c",
                   "\tif (found <= 0)\n\t\treturn found;\n\treturn fail(-EBUSY",
                   "\tif (found <= 0 || true)\n\t\treturn found < 0 ? found : 0;\n"
                   "\treturn fail(-EBUSY"),)),
    Mutant("frozen_in_use", "V7: nor is one that is in use as a parent",
           by="vhdx/chains:several_children",
           edits=(("kmod/store/claim.c",
                   "if ((other->write || write) && is_same(other->file, file)) {",
                   "if (other->write && is_same(other->file, file)) {"),)),
]

# Of blocks that are made.
FIRST_WRITES = [
    Mutant("first_write_look_twice", "V1: a block is looked up once more within the operation",
           by="vhdx/io_concurrent:made_since_it_was_looked_up",
           edits=(("kmod/disk/io_slow.c", "\tif (extent.kind != VHDX_MAPPING_ZERO && "
                   "extent.kind != VHDX_MAPPING_PARENT) {\n", "\tif (0) {\n"),)),
    Mutant("first_write_cleared", "V2: what a device has is not zero until it is cleared",
           by="vhdx/io_stale:device_1M",
           edits=(("kmod/layer/space.c", "*cleared = !c->ops->clear(c, at, piece);", ""),)),
    Mutant("first_write_not_cleared", "V2: what a device could not clear is zeroed as it is taken",
           by="vhdx/io_stale:device_that_is_written_1M",
           edits=(("kmod/layer/space.c", "*cleared = !c->ops->clear(c, at, piece);",
                   "c->ops->clear(c, at, piece);"),)),
    Mutant("first_write_zero_only", "V2: without any wait only what reads as zeroes is taken",
           by="vhdx/discard:nothing_stale_on_a_device",
           edits=(("kmod/layer/freed.c", "else if (zero && !freed->zero)", "else if (0)"),)),
]

# Of blocks that are discarded.
DISCARDS = [
    Mutant("discard_flip", "V1: what looked a block up has left before that is unmapped",
           by="vhdx/discard:read_under_way",
           edits=(("kmod/disk/io_unmap.c",
                   "\treturn vhdx_gate_flip(&io->disk->gate, MAX_SCHEDULE_TIMEOUT);\n",
                   "\treturn 0;\n"),)),
    Mutant("discard_quarantine", "V2: space is used again once the log drops its old mapping",
           by="vhdx/discard:power_loss",
           edits=(("kmod/layer/freed.c", "if (freed && freed->transaction > logged)", "if (0)"),)),
    Mutant("discard_early", "V2: space is given back once the log drops its old mapping, tracked",
           by="crash/log_writes:sessions",
           edits=(("kmod/layer/freed.c", "if (freed && freed->transaction > logged)", "if (0)"),
                  ("kmod/layer/freed.c", "\tspin_unlock(&space->lock);\n}\n\n/* The oldest one, if",
                   "\tspin_unlock(&space->lock);\n"
                   "\tqueue_work(layer->writer.space_wq, &space->give_back);\n}\n\n"
                   "/* The oldest one, if"))),
    Mutant("discard_zero", "V2: space that was used is not known to be zero",
           by="vhdx/discard:nothing_stale_on_a_device",
           edits=(("kmod/layer/freed.c", "freed->zero = !err && c->ops->can_grow;",
                   "freed->zero = true;"),)),
    Mutant("discard_mark", "T1: what is unmapped is marked as changed",
           by="vhdx/discard:tracked",
           edits=(("kmod/disk/io.c", "likely(!is_left_alone(io))", "likely(!vhdx_io_is_unmap(io))"),)),
    Mutant("discard_mask", "V7: a block of the parent is hidden when it is discarded in a child",
           by="vhdx/discard:child_masks",
           edits=(("kmod/layer/unmap.c", "return layer->image.geo.has_parent;", "return false;"),)),
]

# Of bios that other modules are told of.
OBSERVED = [
    Mutant("observed_swap_out", "K3: no part of a swap-out that was told waits for its turn",
           by="debug/api:observed_swap_outs_are_cut", long=True,
           edits=(("kmod/disk/io.c", "if (unlikely(swap_out) && bio && bio != from) {", "if (0) {"),
                  ("kmod/disk/io.c", "if (unlikely(vhdx_is_swap_out(bio)) && "
                   "!vhdx_observers_caught(bio)) {", "if (unlikely(vhdx_is_swap_out(bio))) {"))),
]

MUTANTS = (STEPS + SETS + CORE + KERNEL + CHAINS + DERIVED + FROZEN + FIRST_WRITES + DISCARDS +
           OBSERVED)
