/** The members of the etcd cluster and how each of them is, asked of each one itself. */
import { AlarmAction, type IAlarmMember, type IMember, type IStatusResponse } from 'etcd3';
import { Endpoint, type EtcdCredentials } from './etcd-client.js';
import type { Member } from './store.js';

type Answer = { readonly status: IStatusResponse; readonly endpoint: Endpoint } | { readonly error: Error; readonly endpoint: Endpoint };

/** Never rejects: what cannot be reached is a member that is not healthy, and says why. */
export async function readMembers(endpoints: readonly Endpoint[], credentials: EtcdCredentials | undefined): Promise<Member[]> {
  const answers = await Promise.all(endpoints.map(askStatus));
  const asked = new Map<string, Answer>();
  for (const answer of answers) if ('status' in answer) asked.set(answer.status.header.member_id, answer);

  const reachable = answers.flatMap((answer) => ('status' in answer ? [answer.endpoint] : []));
  const [members, alarms] = await Promise.all([
    firstOf(reachable, (endpoint) => endpoint.cluster.memberList({ linearizable: false }).then((answer) => answer.members)),
    firstOf(reachable, (endpoint) => endpoint.maintenance.alarm({ action: AlarmAction.Get }).then((answer) => answer.alarms)),
  ]);
  if (!members) return answers.map(unknownMember);

  const described = members.map(async (member) => {
    const silent = answers.find((answer) => 'error' in answer && member.clientURLs.includes(answer.endpoint.url));
    const answer = asked.get(member.ID) ?? silent ?? (await askAtItsOwnUrl(member, credentials));
    return describe(
      member,
      answer,
      alarms?.filter((alarm) => alarm.memberID === member.ID),
    );
  });
  return (await Promise.all(described)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A member that hangs must not make the others look ill: whoever asks for the health of all waits less than one call may take. */
const statusLimitMs = 1_000;

function askStatus(endpoint: Endpoint): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Answer>((resolve) => {
    timer = setTimeout(() => resolve({ error: new Error(`no answer within ${statusLimitMs / 1_000} s`), endpoint }), statusLimitMs);
  });
  const answer = endpoint.maintenance.status().then(
    (status) => ({ status, endpoint }),
    (error: Error) => ({ error, endpoint }),
  );
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

/** A member that no configured endpoint leads to. */
async function askAtItsOwnUrl(member: IMember, credentials: EtcdCredentials | undefined): Promise<Answer | undefined> {
  const [url] = member.clientURLs;
  if (url === undefined) return undefined;
  const endpoint = new Endpoint(url, credentials, () => {});
  try {
    return await askStatus(endpoint);
  } finally {
    endpoint.close();
  }
}

/** The answer of the first endpoint that gives one. */
async function firstOf<T>(endpoints: readonly Endpoint[], ask: (endpoint: Endpoint) => Promise<T>): Promise<T | undefined> {
  for (const endpoint of endpoints) {
    try {
      return await ask(endpoint);
    } catch {
      // Its own status says what is wrong with it; another one may know the list.
    }
  }
  return undefined;
}

function describe(member: IMember, answer: Answer | undefined, alarms: readonly IAlarmMember[] | undefined): Member {
  const named = { id: member.ID, name: member.name || '(not started)', endpoints: member.clientURLs };
  if (!answer || 'error' in answer) {
    const message = answer ? `does not answer: ${answer.error.message}` : 'has published no client URL';
    return { ...named, healthy: false, isLeader: false, message };
  }
  const { status } = answer;
  const troubles = [
    ...new Set([
      ...(alarms ?? []).map((alarm) => `alarm ${alarm.alarm.toUpperCase()}`),
      ...status.errors.filter((error) => !error.includes('alarm:')),
    ]),
  ];
  if (status.leader === '0') troubles.push('has no leader');
  if (!alarms) troubles.push('its alarms could not be read');
  return {
    ...named,
    healthy: troubles.length === 0,
    isLeader: status.leader === member.ID,
    message: troubles.length === 0 ? 'ok' : troubles.join('; '),
    version: status.version,
    dbSizeBytes: Number(status.dbSize),
  };
}

/** Nobody could name the members: what is known is whom we asked. */
function unknownMember(answer: Answer): Member {
  const message = 'error' in answer ? `does not answer: ${answer.error.message}` : 'does not know the members';
  return { id: '', name: answer.endpoint.url, endpoints: [answer.endpoint.url], healthy: false, isLeader: false, message };
}
