// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Where every field of a container lies. The sizes are asserted beside the structures;
 * selftests/static/layout finds a field that is in neither.
 */
#include "ondisk.h"

#define FIELD(type, field, offset) \
	static_assert(offsetof(type, field) == (offset))

FIELD(struct vhdx_ondisk_file_identifier, signature, 0);
FIELD(struct vhdx_ondisk_file_identifier, creator, 8);

FIELD(struct vhdx_ondisk_header, signature, 0);
FIELD(struct vhdx_ondisk_header, checksum, 4);
FIELD(struct vhdx_ondisk_header, sequence_number, 8);
FIELD(struct vhdx_ondisk_header, file_write_guid, 16);
FIELD(struct vhdx_ondisk_header, data_write_guid, 32);
FIELD(struct vhdx_ondisk_header, log_guid, 48);
FIELD(struct vhdx_ondisk_header, log_version, 64);
FIELD(struct vhdx_ondisk_header, version, 66);
FIELD(struct vhdx_ondisk_header, log_length, 68);
FIELD(struct vhdx_ondisk_header, log_offset, 72);
FIELD(struct vhdx_ondisk_header, reserved, 80);

FIELD(struct vhdx_ondisk_region_entry, guid, 0);
FIELD(struct vhdx_ondisk_region_entry, file_offset, 16);
FIELD(struct vhdx_ondisk_region_entry, length, 24);
FIELD(struct vhdx_ondisk_region_entry, required, 28);

FIELD(struct vhdx_ondisk_region_table, signature, 0);
FIELD(struct vhdx_ondisk_region_table, checksum, 4);
FIELD(struct vhdx_ondisk_region_table, entry_count, 8);
FIELD(struct vhdx_ondisk_region_table, reserved, 12);
FIELD(struct vhdx_ondisk_region_table, entries, 16);
FIELD(struct vhdx_ondisk_region_table, unused, 65520);

FIELD(struct vhdx_ondisk_log_header, signature, 0);
FIELD(struct vhdx_ondisk_log_header, checksum, 4);
FIELD(struct vhdx_ondisk_log_header, entry_length, 8);
FIELD(struct vhdx_ondisk_log_header, tail, 12);
FIELD(struct vhdx_ondisk_log_header, sequence_number, 16);
FIELD(struct vhdx_ondisk_log_header, descriptor_count, 24);
FIELD(struct vhdx_ondisk_log_header, reserved, 28);
FIELD(struct vhdx_ondisk_log_header, log_guid, 32);
FIELD(struct vhdx_ondisk_log_header, flushed_file_offset, 48);
FIELD(struct vhdx_ondisk_log_header, last_file_offset, 56);

FIELD(struct vhdx_ondisk_log_zero, signature, 0);
FIELD(struct vhdx_ondisk_log_zero, reserved, 4);
FIELD(struct vhdx_ondisk_log_zero, zero_length, 8);
FIELD(struct vhdx_ondisk_log_zero, file_offset, 16);
FIELD(struct vhdx_ondisk_log_zero, sequence_number, 24);

FIELD(struct vhdx_ondisk_log_data, signature, 0);
FIELD(struct vhdx_ondisk_log_data, trailing, 4);
FIELD(struct vhdx_ondisk_log_data, leading, 8);
FIELD(struct vhdx_ondisk_log_data, file_offset, 16);
FIELD(struct vhdx_ondisk_log_data, sequence_number, 24);

FIELD(union vhdx_ondisk_log_descriptor, signature, 0);
FIELD(union vhdx_ondisk_log_descriptor, zero, 0);
FIELD(union vhdx_ondisk_log_descriptor, data, 0);

FIELD(struct vhdx_ondisk_log_sector, signature, 0);
FIELD(struct vhdx_ondisk_log_sector, sequence_high, 4);
FIELD(struct vhdx_ondisk_log_sector, data, 8);
FIELD(struct vhdx_ondisk_log_sector, sequence_low, 4092);

FIELD(struct vhdx_ondisk_metadata_entry, item_id, 0);
FIELD(struct vhdx_ondisk_metadata_entry, offset, 16);
FIELD(struct vhdx_ondisk_metadata_entry, length, 20);
FIELD(struct vhdx_ondisk_metadata_entry, flags, 24);
FIELD(struct vhdx_ondisk_metadata_entry, reserved, 28);

FIELD(struct vhdx_ondisk_metadata_table, signature, 0);
FIELD(struct vhdx_ondisk_metadata_table, reserved, 8);
FIELD(struct vhdx_ondisk_metadata_table, entry_count, 10);
FIELD(struct vhdx_ondisk_metadata_table, reserved2, 12);
FIELD(struct vhdx_ondisk_metadata_table, entries, 32);

FIELD(struct vhdx_ondisk_file_parameters, block_size, 0);
FIELD(struct vhdx_ondisk_file_parameters, flags, 4);

FIELD(struct vhdx_ondisk_locator_entry, key_offset, 0);
FIELD(struct vhdx_ondisk_locator_entry, value_offset, 4);
FIELD(struct vhdx_ondisk_locator_entry, key_length, 8);
FIELD(struct vhdx_ondisk_locator_entry, value_length, 10);

FIELD(struct vhdx_ondisk_locator, type, 0);
FIELD(struct vhdx_ondisk_locator, reserved, 16);
FIELD(struct vhdx_ondisk_locator, entry_count, 18);
FIELD(struct vhdx_ondisk_locator, entries, 20);
