// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Blocks of a sidecar.
 *
 * The checksum of a block lies with the reference to it, not in it: an older version
 * of the block, itself intact, doesn't pass for the one that is meant. So what is referred
 * to is written first.
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

	/* The device may be slow, and blocks are many: a kill waits for one at most. */
	if (vhdx_interrupted())
		return -EINTR;
	if (!vhdx_sidecar_is_block(sidecar, block))
		return vhdx_sidecar_damaged(diag, "%s: block %llu is out of place", what, block);
	if (vhdx_block_cache_get(sidecar->cache, block, crc, buf))
		return 0;
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

int vhdx_sidecar_keep_blocks(struct vhdx_sidecar *sidecar, struct vhdx_block_cache *cache)
{
	int err = vhdx_block_cache_init(cache, vhdx_sidecar_leaf_count(sidecar));

	sidecar->cache = err ? NULL : cache;
	return err;
}

int vhdx_sidecar_write_blocks(struct vhdx_sidecar *sidecar, u64 block, const void *buf, u32 count)
{
	if (!sidecar->store->write)
		return -EROFS;
	vhdx_block_cache_drop(sidecar->cache, block, count);
	return sidecar->store->write(sidecar->store, block << VHDX_SIDECAR_BLOCK_SHIFT, buf,
				     (size_t)count << VHDX_SIDECAR_BLOCK_SHIFT);
}

int vhdx_block_writer_init(struct vhdx_block_writer *writer, struct vhdx_sidecar *sidecar,
			   u32 spare)
{
	writer->sidecar = sidecar;
	writer->spare = spare;
	writer->keep = false;
	writer->pending = 0;
	writer->buf = vhdx_alloc(VHDX_BLOCKS_AT_ONCE * VHDX_SIDECAR_BLOCK);
	return writer->buf ? 0 : -ENOMEM;
}

void vhdx_block_writer_release(struct vhdx_block_writer *writer)
{
	vhdx_free(writer->buf);
}

int vhdx_block_writer_flush(struct vhdx_block_writer *writer)
{
	u32 i, pending = writer->pending;
	int err;

	writer->pending = 0;
	if (!pending)
		return 0;
	vhdx_breathe();
	err = vhdx_sidecar_write_blocks(writer->sidecar, writer->block, writer->buf, pending);
	for (i = 0; !err && writer->keep && i < pending; i++)
		vhdx_block_cache_put(writer->sidecar->cache, writer->block + i, writer->crcs[i],
				     writer->buf + i * VHDX_SIDECAR_BLOCK);
	return err;
}

int vhdx_block_writer_add(struct vhdx_block_writer *writer, const void *page, u64 *block,
			  u32 *crc)
{
	int err;

	err = vhdx_sidecar_take_block(writer->sidecar, writer->spare, block);
	if (err)
		return err;
	if (writer->pending == VHDX_BLOCKS_AT_ONCE || *block != writer->block + writer->pending)
		err = vhdx_block_writer_flush(writer);
	if (err)
		return err;
	if (!writer->pending)
		writer->block = *block;
	*crc = vhdx_sidecar_crc(page, VHDX_SIDECAR_BLOCK);
	memcpy(writer->buf + writer->pending * VHDX_SIDECAR_BLOCK, page, VHDX_SIDECAR_BLOCK);
	writer->crcs[writer->pending++] = *crc;
	return 0;
}
