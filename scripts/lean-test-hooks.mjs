// Loaded into every test process before node:test is. Node 20's runner follows every promise of a process through async_hooks, only to know
// to which test an error that nobody caught belongs: half the CPU time of tests that are made of promises. Here it is told of its own tests
// and suites alone, which is what it needs to know where a test() or before() in a describe() belongs. An error that nobody caught still
// fails its file, as an error of no test. Other versions of Node are left as they are.
import async_hooks from 'node:async_hooks';

if (process.versions.node.startsWith('20.') && process.env.NODE_TEST_CONTEXT !== undefined) {
  const { createHook, AsyncResource } = async_hooks;
  let created;

  async_hooks.createHook = (callbacks) => {
    const isRunners = new Error().stack.split('\n')[2]?.includes('node:internal/test_runner/harness') ?? false;
    if (!isRunners) return createHook(callbacks);
    created = callbacks.init;
    const hook = { enable: () => hook, disable: () => hook };
    return hook;
  };
  async_hooks.AsyncResource = class extends AsyncResource {
    constructor(type, options) {
      super(type, options);
      created?.(this.asyncId(), type, this.triggerAsyncId(), this);
    }
  };
  // The runner tells its message only.
  process.on('uncaughtExceptionMonitor', (error) => process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`));
}
