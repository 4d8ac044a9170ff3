"""An operator's own record: one line for each play, result and recap."""
import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: ledger
    type: aggregate
    short_description: one line for each play, result and recap
    description: Written to /root/ledger.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'aggregate'
    CALLBACK_NAME = 'ledger'
    CALLBACK_NEEDS_ENABLED = True

    def write(self, *entry):
        with open('/root/ledger', 'a') as f:
            f.write(json.dumps(entry) + '\n')

    def v2_playbook_on_play_start(self, play):
        self.write('play', play.get_name())

    def v2_runner_on_ok(self, result):
        self.write('ok', result._host.get_name(), result._task.get_name(), len(result._result.get('stdout', '')))

    def v2_playbook_on_stats(self, stats):
        self.write('recap', *sorted(stats.processed))
