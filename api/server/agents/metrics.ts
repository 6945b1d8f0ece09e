/** What the agent streams tell about themselves. */
import { latencyBuckets, type Metrics } from '../../../runtime/metrics.js';
import type { FromAgent } from '../../resources/protocol.js';
import type { EndReason } from './ending.js';
import type { StateResult } from './state-writer.js';

export interface AgentMetrics {
  received(type: FromAgent['type']): void;
  state(result: StateResult): void;
  /** Seconds that etcd took. */
  heartbeat(seconds: number): void;
  ended(reason: EndReason): void;
  eventIgnored(): void;
}

/** @param streams how many are open now */
export function agentMetrics(metrics: Metrics, streams: () => number): AgentMetrics {
  metrics.observe('gauge', 'flotilla_agent_streams', 'Agent streams that this server holds.', [], () => [{ labels: {}, value: streams() }]);
  const messages = metrics.counter('flotilla_agent_messages_total', 'Messages received from agents.', ['type']);
  const states = metrics.counter('flotilla_agent_states_total', 'Unit states received from agents, by what became of them.', ['result']);
  const heartbeats = metrics.histogram('flotilla_agent_heartbeat_seconds', 'From a heartbeat to the answer of etcd.', latencyBuckets);
  const ends = metrics.counter('flotilla_agent_stream_ends_total', 'Agent streams that ended, by reason.', ['reason']);
  const ignored = metrics.counter('flotilla_agent_events_ignored_total', 'Events of agents about foreign units, too long or too many.');
  return {
    received: (type) => messages.inc({ type }),
    state: (result) => states.inc({ result }),
    heartbeat: (seconds) => heartbeats.observe({}, seconds),
    ended: (reason) => ends.inc({ reason }),
    eventIgnored: () => ignored.inc({}),
  };
}
