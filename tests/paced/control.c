/* A card's volume control in decibels for alsa-lib, without a card; see test_mixer_alsa.py.

   "PCM": 21 steps of 1.5 dB up to 0 dB, the lowest of which is silence, and a mute switch. Both
   lie in a file, so that they outlive who opens them, and the test can look and turn. */

#include <alsa/asoundlib.h>
#include <alsa/control_external.h>

enum { VOLUME, MUTE_SWITCH, COUNT };
enum { TOP = 20 };

static const char *const names[COUNT] = {"PCM Playback Volume", "PCM Playback Switch"};
static const unsigned int scale[] = {SND_CTL_TLVT_DB_SCALE, 2 * sizeof(int), -3000, 150 | 0x10000};

static int look(const char *file, long value[COUNT])
{
	FILE *f = fopen(file, "r");
	int n = f ? fscanf(f, "%ld %ld", &value[VOLUME], &value[MUTE_SWITCH]) : 0;
	if (f)
		fclose(f);
	return n == COUNT ? 0 : -ENODEV;
}

static int elem_count(snd_ctl_ext_t *ext)
{
	return COUNT;
}

static int elem_list(snd_ctl_ext_t *ext, unsigned int offset, snd_ctl_elem_id_t *id)
{
	snd_ctl_elem_id_set_interface(id, SND_CTL_ELEM_IFACE_MIXER);
	snd_ctl_elem_id_set_name(id, names[offset]);
	return 0;
}

static snd_ctl_ext_key_t find_elem(snd_ctl_ext_t *ext, const snd_ctl_elem_id_t *id)
{
	for (int i = 0; i < COUNT; i++)
		if (!strcmp(snd_ctl_elem_id_get_name(id), names[i]))
			return i;
	return SND_CTL_EXT_KEY_NOT_FOUND;
}

static int get_attribute(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, int *type, unsigned int *acc,
			 unsigned int *count)
{
	*type = key == VOLUME ? SND_CTL_ELEM_TYPE_INTEGER : SND_CTL_ELEM_TYPE_BOOLEAN;
	*acc = SND_CTL_EXT_ACCESS_READWRITE | (key == VOLUME ? SND_CTL_EXT_ACCESS_TLV_READ : 0);
	*count = 1;
	return 0;
}

static int get_integer_info(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *min, long *max, long *step)
{
	*min = 0;
	*max = TOP;
	*step = 1;
	return 0;
}

static int read_integer(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *value)
{
	long all[COUNT];
	int err = look(ext->private_data, all);
	*value = err ? 0 : all[key];
	return err;
}

static int write_integer(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *value)
{
	long all[COUNT];
	int err = look(ext->private_data, all);
	FILE *f = err ? NULL : fopen(ext->private_data, "w");
	if (!f)
		return -ENODEV;
	all[key] = *value;
	fprintf(f, "%ld %ld\n", all[VOLUME], all[MUTE_SWITCH]);
	fclose(f);
	return 1;
}

static int read_event(snd_ctl_ext_t *ext, snd_ctl_elem_id_t *id, unsigned int *mask)
{
	return -EAGAIN;
}

static void end(snd_ctl_ext_t *ext)
{
	free(ext->private_data);
	free(ext);
}

static const snd_ctl_ext_callback_t callback = {
	.close = end,
	.elem_count = elem_count,
	.elem_list = elem_list,
	.find_elem = find_elem,
	.get_attribute = get_attribute,
	.get_integer_info = get_integer_info,
	.read_integer = read_integer,
	.write_integer = write_integer,
	.read_event = read_event,
};

SND_CTL_PLUGIN_DEFINE_FUNC(lab)
{
	const char *file = NULL;
	long all[COUNT];
	snd_config_t *found;
	if (snd_config_search(conf, "file", &found) < 0 || snd_config_get_string(found, &file) < 0)
		return -EINVAL;
	if (look(file, all) < 0)
		return -ENODEV;
	snd_ctl_ext_t *ext = calloc(1, sizeof(*ext));
	ext->version = SND_CTL_EXT_VERSION;
	ext->poll_fd = -1;
	ext->callback = &callback;
	ext->private_data = strdup(file);
	ext->tlv.p = scale;
	strcpy(ext->id, "lab");
	strcpy(ext->name, "lab");
	int err = snd_ctl_ext_create(ext, name, mode);
	if (err < 0) {
		end(ext);
		return err;
	}
	*handlep = ext->handle;
	return 0;
}

SND_CTL_PLUGIN_SYMBOL(lab);
