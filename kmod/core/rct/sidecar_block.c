// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Blocks of a sidecar, and records in chains of blocks.
 *
 * The checksum of a block lies with the reference to it, not in it: an older version
 * of the block, itself intact, doesn't pass for the one that is meant. So a chain is
 * written from its end.
 */
#include "sidecar_private.h"

u32 vhdx_sidecar_crc(const void *data, size_t length)
{
	return ~vhdx_crc32c(~0U, data, length);
}

int vhdx_sidecar_read_block(const struct vhdx_sidecar *sidecar, u64 block, u32 crc, void *buf,
			    const char *what, struct vhdx_diag *diag)
{
	u64 offset = block << VHDX_SIDECAR_BLOCK_SHIFT;
	u32 found;
	int err;

	/* The device may be slow, and blocks are many: nobody waits for more than one. */
	if (vhdx_interrupted())
		return -EINTR;
	err = sidecar->store->read(sidecar->store, offset, buf, VHDX_SIDECAR_BLOCK);
	if (err)
		return vhdx_io_failed(diag, err, "sidecar: reading %s at offset %llu failed (%d)",
				      what, offset, err);
	found = vhdx_sidecar_crc(buf, VHDX_SIDECAR_BLOCK);
	if (found != crc)
		return vhdx_sidecar_damaged(diag, "%s at offset %llu: checksum is %08x, not %08x",
					    what, offset, found, crc);
	return 0;
}

int vhdx_sidecar_write_blocks(struct vhdx_sidecar *sidecar, u64 block, const void *buf, u32 count)
{
	if (!sidecar->store->write)
		return -EROFS;
	return sidecar->store->write(sidecar->store, block << VHDX_SIDECAR_BLOCK_SHIFT, buf,
				     (size_t)count << VHDX_SIDECAR_BLOCK_SHIFT);
}

/* Fill in the link and the records of block number @index of the chain. */
static void encode_block(const struct vhdx_sidecar_record *type, u32 count, const void *source,
			 u32 index, const struct vhdx_sidecar_chain *next, void *buf)
{
	struct vhdx_sidecar_link *link = buf;
	u8 *record = buf + sizeof(*link);
	u32 first = index * type->per_block;
	u32 here = min(type->per_block, count - first);
	u32 i;

	memset(buf, 0, VHDX_SIDECAR_BLOCK);
	link->magic = cpu_to_le32(type->magic);
	link->count = cpu_to_le32(here);
	link->next = cpu_to_le64(next->block);
	link->next_crc = cpu_to_le32(next->crc);
	for (i = 0; i < here; i++, record += type->size)
		type->encode(source, first + i, record);
}

int vhdx_sidecar_write_chain(struct vhdx_sidecar *sidecar,
			     const struct vhdx_sidecar_record *type, u32 count,
			     const void *source, struct vhdx_sidecar_chain *chain)
{
	u32 blocks = DIV_ROUND_UP(count, type->per_block);
	void *buf;
	int err;
	u32 i;

	memset(chain, 0, sizeof(*chain));
	if (!blocks)
		return 0;
	buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	chain->blocks = vhdx_alloc(blocks * sizeof(*chain->blocks));
	err = -ENOMEM;
	if (!buf || !chain->blocks)
		goto fail;

	while (chain->block_count < blocks) {
		err = vhdx_sidecar_take_block(sidecar, &chain->blocks[chain->block_count]);
		if (err)
			goto fail;
		chain->block_count++;
	}
	for (i = blocks; i--;) {
		encode_block(type, count, source, i, chain, buf);
		err = vhdx_sidecar_write_blocks(sidecar, chain->blocks[i], buf, 1);
		if (err)
			goto fail;
		chain->block = chain->blocks[i];
		chain->crc = vhdx_sidecar_crc(buf, VHDX_SIDECAR_BLOCK);
	}
	vhdx_free(buf);
	return 0;

fail:
	vhdx_sidecar_unwrite_chain(sidecar, chain);
	vhdx_free(buf);
	return err;
}

void vhdx_sidecar_unwrite_chain(struct vhdx_sidecar *sidecar, struct vhdx_sidecar_chain *chain)
{
	while (chain->block_count)
		vhdx_sidecar_give_back_block(sidecar, chain->blocks[--chain->block_count]);
	vhdx_free(chain->blocks);
	memset(chain, 0, sizeof(*chain));
}

/*
 * Each block but the last is full, so the number of records bounds the number of
 * blocks, whatever the links say; and a link to a block that was read before can't be
 * claimed. A cycle ends either way.
 */
int vhdx_sidecar_read_chain(struct vhdx_sidecar *sidecar,
			    const struct vhdx_sidecar_record *type, u32 count, void *sink,
			    struct vhdx_sidecar_chain *chain, struct vhdx_diag *diag)
{
	u32 blocks = DIV_ROUND_UP(count, type->per_block);
	u64 block = chain->block;
	u32 crc = chain->crc;
	struct vhdx_sidecar_link *link;
	u32 done = 0;
	int err;

	if (blocks > sidecar->block_count)
		return vhdx_sidecar_damaged(diag, "%u records of %s in a file of %llu blocks",
					    count, type->what, sidecar->block_count);
	if (!blocks)
		return 0;
	link = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	chain->blocks = vhdx_alloc(blocks * sizeof(*chain->blocks));
	if (!link || !chain->blocks) {
		err = vhdx_no_memory(diag);
		goto out;
	}

	while (done < count) {
		u32 here = min(type->per_block, count - done);
		const u8 *record = (const u8 *)(link + 1);

		if (!vhdx_sidecar_claim_block(sidecar, block)) {
			err = vhdx_sidecar_damaged(diag,
						   "%s: block %llu is out of place or named twice",
						   type->what, block);
			goto out;
		}
		chain->blocks[chain->block_count++] = block;
		err = vhdx_sidecar_read_block(sidecar, block, crc, link, type->what, diag);
		if (err)
			goto out;
		if (le32_to_cpu(link->magic) != type->magic || le32_to_cpu(link->count) != here) {
			err = vhdx_sidecar_damaged(diag,
						   "block %llu has %u records of %08x, not %u of %s",
						   block, le32_to_cpu(link->count),
						   le32_to_cpu(link->magic), here, type->what);
			goto out;
		}
		for (; here; here--, done++, record += type->size) {
			err = type->decode(sink, done, record, diag);
			if (err)
				goto out;
		}
		block = le64_to_cpu(link->next);
		crc = le32_to_cpu(link->next_crc);
		vhdx_breathe();
	}
	err = 0;
out:
	vhdx_free(link);
	return err;
}
