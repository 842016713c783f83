// SPDX-License-Identifier: GPL-2.0-only
#include "layer.h"

#include <linux/random.h>
#include <linux/slab.h>

/**
 * vhdx_header_copies_init() - memory for updates of the header
 * @copies:	zeroed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_header_copies_init(struct vhdx_header_copies *copies)
{
	mutex_init(&copies->lock);
	spin_lock_init(&copies->current_lock);
	copies->pages[0] = kvzalloc(2 * VHDX_PAGE, GFP_KERNEL);
	if (!copies->pages[0])
		return -ENOMEM;
	copies->pages[1] = copies->pages[0] + VHDX_PAGE;
	return 0;
}

/**
 * vhdx_header_copies_destroy() - free the memory
 * @copies:	no update is under way
 */
void vhdx_header_copies_destroy(struct vhdx_header_copies *copies)
{
	kvfree(copies->pages[0]);
	copies->pages[0] = NULL;
}

/**
 * vhdx_header_copies_read() - read both
 * @container:	open
 * @pages:	4 KiB for each, not on the caller's stack
 *
 * One copy alone does not show that another program has written the other: an update begins with
 * the copy that is not current (MS-VHDX 2.2.2), and may end there. Sleeps. Returns 0 or -errno.
 */
int vhdx_header_copies_read(struct vhdx_container *container, void *pages[2])
{
	unsigned int slot;
	int err = 0;

	for (slot = 0; slot < 2 && !err; slot++)
		err = vhdx_container_read_whole(container, vhdx_header_offset(slot), pages[slot],
						VHDX_PAGE);
	return err;
}

/*
 * After an update that failed either state may be on disk. @found receives the current header; its
 * slot alone where there is none.
 */
static bool is_ours(const struct vhdx_open_layer *layer, struct vhdx_header *found)
{
	const struct vhdx_header_copies *copies = &layer->writer.header;

	found->slot = layer->image.header.slot;
	return vhdx_header_choose((const void *const *)copies->pages, found) &&
	       (vhdx_header_equal(found, &layer->image.header) ||
		vhdx_header_equal(found, &copies->attempt));
}

/*
 * Is the header still there that was found at attach, or written last? Another image, that was
 * written over this one, has another header; and so has this one, if another program opened it.
 */
static int read_back(struct vhdx_open_layer *layer)
{
	struct vhdx_header found;
	char how[100];
	int err;

	lockdep_assert_held(&layer->writer.header.lock);
	if (vhdx_writer_is_lost(layer))
		return -EIO;
	err = vhdx_header_copies_read(layer->writer.container, layer->writer.header.pages);
	if (vhdx_writer_is_lost(layer))
		return -EIO;
	if (!err && !is_ours(layer, &found)) {
		snprintf(how, sizeof(how), "was written by somebody else: the header at 0x%llx is not ours",
			 vhdx_header_offset(found.slot));
		vhdx_layer_lose(layer, how);
		err = -EIO;
	}
	return err;
}

/**
 * vhdx_layer_verify() - is the container still the one that was attached?
 * @layer:	open
 *
 * Sleeps. Returns 0, or -EIO where it is not, or where the header can't be read.
 */
int vhdx_layer_verify(struct vhdx_open_layer *layer)
{
	int err;

	mutex_lock(&layer->writer.header.lock);
	err = read_back(layer);
	mutex_unlock(&layer->writer.header.lock);
	return err;
}

/**
 * vhdx_layer_reserve_header() - make sure that writing the header does not run out of space
 * @layer:	open for writing
 *
 * In a file system of small blocks a copy may be a hole behind its first sector, or it may be
 * shared with another file. Both are written as they are, before anything is changed: one that is
 * cut short in the middle may be valid, and it would not be known which header is the newer one.
 *
 * Sleeps. Returns 0, -ENOSPC, or -errno.
 */
int vhdx_layer_reserve_header(struct vhdx_open_layer *layer)
{
	struct vhdx_container *c = layer->writer.container;
	void **pages = layer->writer.header.pages;
	unsigned int slot;
	int err;

	if (!c->ops->can_grow)
		return 0;
	mutex_lock(&layer->writer.header.lock);
	err = read_back(layer);
	for (slot = 0; slot < 2 && !err; slot++)
		err = c->store.write(&c->store, vhdx_header_offset(slot), pages[slot], VHDX_PAGE);
	mutex_unlock(&layer->writer.header.lock);
	return err;
}

static void replace_header(struct vhdx_open_layer *layer, const struct vhdx_header *header)
{
	lockdep_assert_held(&layer->writer.header.lock);
	spin_lock(&layer->writer.header.current_lock);
	layer->image.header = *header;
	spin_unlock(&layer->writer.header.current_lock);
}

static void set_distrusted(struct vhdx_header_copies *copies, bool distrusted)
{
	lockdep_assert_held(&copies->lock);
	spin_lock(&copies->current_lock);
	copies->distrusted = distrusted;
	spin_unlock(&copies->current_lock);
}

static void distrust(struct vhdx_open_layer *layer)
{
	struct vhdx_header_copies *copies = &layer->writer.header;
	u8 random[8];

	lockdep_assert_held(&copies->lock);
	if (copies->distrusted)
		return;
	get_random_bytes(random, sizeof(random));
	vhdx_guid_invalidate(&layer->image.geo.disk_id, random, &copies->invalid);
	set_distrusted(copies, true);
}

/*
 * -ECANCELED: the header is not to be written. Otherwise it is, whatever @announce returns.
 *
 * Before, not after: what is announced and never written does no harm, but a header that was not
 * announced looks like one that the sidecar missed.
 */
static int tell(struct vhdx_open_layer *layer, u64 sequence, vhdx_announce_fn announce,
		void *context)
{
	struct vhdx_header_copies *copies = &layer->writer.header;
	int err = 0;

	lockdep_assert_held(&copies->lock);
	if (copies->kept)
		return -ECANCELED;
	if (announce && !copies->distrusted)
		err = announce(context, sequence);
	if (err == -ECANCELED)
		copies->kept = true;
	else if (err)
		distrust(layer);
	return err;
}

static int write_copies(struct vhdx_open_layer *layer, struct vhdx_header *header,
			unsigned int count)
{
	struct vhdx_store *store = &layer->writer.container->store;
	struct vhdx_header_copies *copies = &layer->writer.header;
	void *buf = copies->pages[0];
	int err = 0;

	if (copies->distrusted)
		header->data_write_guid = copies->invalid;
	while (count-- && !err) {
		header->sequence++;
		header->slot ^= 1;
		copies->attempt = *header;
		vhdx_header_encode(header, buf);
		err = store->write(store, vhdx_header_offset(header->slot), buf, VHDX_PAGE);
		if (!err)
			err = store->flush(store);
		/* What comes next goes to the other copy, be it the second one or, if that
		 * failed, another update: the one that is good is never written over.
		 */
		if (!err)
			replace_header(layer, header);
	}
	return err;
}

/**
 * vhdx_layer_update_header() - write the header with new GUIDs, durably
 * @layer:		open for writing
 * @file_write_guid:	new value, or NULL to keep it
 * @data_write_guid:	likewise
 * @log_guid:		likewise
 *
 * MS-VHDX 2.2.2: the copy that is not current, flush; then the other one as well, so
 * that a header that goes bad later does not bring an old one back. Returns 0 or
 * -errno; after an error either state may be on disk, but for one that is kept
 * (vhdx_layer_keep_header()).
 */
int vhdx_layer_update_header(struct vhdx_open_layer *layer, const vhdx_guid *file_write_guid,
			     const vhdx_guid *data_write_guid, const vhdx_guid *log_guid)
{
	struct vhdx_header_copies *copies = &layer->writer.header;
	struct vhdx_header header;
	int err, told = 0;

	mutex_lock(&copies->lock);
	err = read_back(layer);
	header = layer->image.header;
	if (file_write_guid)
		header.file_write_guid = *file_write_guid;
	if (data_write_guid)
		header.data_write_guid = *data_write_guid;
	if (log_guid)
		header.log_guid = *log_guid;
	if (!err)
		told = tell(layer, header.sequence + 2, copies->announce, copies->announce_to);
	if (told == -ECANCELED)
		err = -EIO;
	if (!err)
		err = write_copies(layer, &header, 2);
	mutex_unlock(&copies->lock);
	return err;
}

/**
 * vhdx_layer_step_header() - the header gets the next SequenceNumber, and nothing else
 * @layer:	open for writing
 * @announce:	called before, instead of the one that is told of all other updates
 * @context:	passed to it
 *
 * So that an older sidecar is found (rule T6). One copy is enough for that: the other one differs
 * in the number alone. Sleeps. Returns 0; what @announce returned, and the header is kept or
 * distrusted by now; -ECANCELED or -ESTALE: it was before; or -errno, and the disk is poisoned.
 */
int vhdx_layer_step_header(struct vhdx_open_layer *layer, vhdx_announce_fn announce, void *context)
{
	struct vhdx_header_copies *copies = &layer->writer.header;
	struct vhdx_header header;
	int err, told = -ESTALE;

	mutex_lock(&copies->lock);
	err = read_back(layer);
	header = layer->image.header;
	if (!err && !copies->distrusted) {
		told = tell(layer, header.sequence + 1, announce, context);
		if (told != -ECANCELED)
			err = write_copies(layer, &header, told ? 2 : 1);
	}
	mutex_unlock(&copies->lock);
	if (err)
		vhdx_layer_failed(layer, "header update", err);
	return err ?: told;
}

/**
 * vhdx_layer_announce_headers() - have each update of the header announced from now on
 * @layer:	open for writing
 * @announce:	called before; and at once, with the SequenceNumber that the header has. NULL: not
 *		any more
 * @context:	passed to it
 *
 * Once this has returned, no call of the one before is under way. Sleeps. Returns 0, or what
 * @announce returned at once: then it is not called any more, and the header is what it was.
 */
int vhdx_layer_announce_headers(struct vhdx_open_layer *layer, vhdx_announce_fn announce,
				void *context)
{
	struct vhdx_header_copies *copies = &layer->writer.header;
	int err = 0;

	mutex_lock(&copies->lock);
	if (announce)
		err = announce(context, layer->image.header.sequence);
	copies->announce = err ? NULL : announce;
	copies->announce_to = context;
	mutex_unlock(&copies->lock);
	return err;
}

/**
 * vhdx_layer_keep_header() - the header is not written any more
 * @layer:	open for writing
 *
 * A strict sidecar that failed knows the number that it has, and could not be told of another one
 * (rule T6). A header that is being written when this is called is durable when it returns, or has
 * failed. Sleeps.
 */
void vhdx_layer_keep_header(struct vhdx_open_layer *layer)
{
	mutex_lock(&layer->writer.header.lock);
	layer->writer.header.kept = true;
	mutex_unlock(&layer->writer.header.lock);
}

/**
 * vhdx_layer_distrust() - what a sidecar was told does not count any more
 * @layer:	open for writing
 *
 * Rule T7: a header that is being written when this is called is durable when it returns, or has
 * failed; and every one that is written after it has a DataWriteGuid that no sidecar knows, and
 * that an attach knows for what it is. Sleeps.
 */
void vhdx_layer_distrust(struct vhdx_open_layer *layer)
{
	mutex_lock(&layer->writer.header.lock);
	distrust(layer);
	mutex_unlock(&layer->writer.header.lock);
}

/**
 * vhdx_layer_invalidate() - the same, and it is durable now
 * @layer:	open for writing
 *
 * A failure poisons the disk: the header may say either. Sleeps. Returns 0 or -errno.
 */
int vhdx_layer_invalidate(struct vhdx_open_layer *layer)
{
	int err;

	vhdx_layer_distrust(layer);
	err = vhdx_layer_update_header(layer, NULL, NULL, NULL);
	if (err)
		vhdx_layer_failed(layer, "header update", err);
	return err;
}

/**
 * vhdx_layer_trust() - another sidecar is told what the header says from now on
 * @layer:	open for writing; no task tells one anything meanwhile
 *
 * Sleeps.
 */
void vhdx_layer_trust(struct vhdx_open_layer *layer)
{
	struct vhdx_header_copies *copies = &layer->writer.header;

	mutex_lock(&copies->lock);
	set_distrusted(copies, false);
	mutex_unlock(&copies->lock);
}

/**
 * vhdx_layer_is_trusted() - has vhdx_layer_distrust() not been called?
 * @layer:	open for writing
 */
bool vhdx_layer_is_trusted(struct vhdx_open_layer *layer)
{
	return !READ_ONCE(layer->writer.header.distrusted);
}

/**
 * vhdx_layer_data_write_guid() - the DataWriteGuid that the header has now
 * @layer:	open
 * @guid:	receives it
 *
 * Does not wait for a header that is being written. Returns false after vhdx_layer_distrust().
 */
bool vhdx_layer_data_write_guid(struct vhdx_open_layer *layer, vhdx_guid *guid)
{
	struct vhdx_header_copies *copies = &layer->writer.header;
	bool trusted;

	spin_lock(&copies->current_lock);
	*guid = layer->image.header.data_write_guid;
	trusted = !copies->distrusted;
	spin_unlock(&copies->current_lock);
	return trusted;
}
