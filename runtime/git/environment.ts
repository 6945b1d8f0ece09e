/** What every git that we start finds around itself, and nothing else. */
import { join } from 'node:path';

/**
 * Read by every git that we start, and by those that git starts; nothing of the host's own settings is. Whom gpgsm trusts is such a setting,
 * too: a certificate that this host takes for good is none of the keys that a Secret names.
 */
export const gitConfig = `[core]
	hooksPath = /dev/null
	fsmonitor = false
	symlinks = false
	bigFileThreshold = 1m
	askPass =
[credential]
	helper =
[gpg "x509"]
	program = false
[gc]
	auto = 0
[maintenance]
	auto = false
[fetch]
	recurseSubmodules = false
	unpackLimit = 1
	writeCommitGraph = false
[submodule]
	recurse = false
[protocol "ext"]
	allow = never
[pack]
	threads = 1
[http]
	lowSpeedLimit = 1
	lowSpeedTime = 30
[safe]
	directory = *
`;

/** Nothing of this process's own environment but where programs are found. */
export const baseEnvironment = (home: string): Record<string, string> => ({
  PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
  HOME: home,
  XDG_CONFIG_HOME: home,
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_DEFAULT_REF_FORMAT: 'files',
  GIT_CONFIG_GLOBAL: join(home, 'gitconfig'),
  GIT_TERMINAL_PROMPT: '0',
  GIT_LFS_SKIP_SMUDGE: '1',
  GIT_ALLOW_PROTOCOL: 'none',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_PROTOCOL_FROM_USER: '0',
  GIT_SSH_COMMAND: 'false',
});
