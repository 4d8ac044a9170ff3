"""Tests of what the role's program reads and decides: python3 -m unittest discover -s ansible/tests"""
import io
import os
import shutil
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'roles', 'patching'))
from module_utils import homelab_apt as apt                  # noqa: E402
from module_utils import homelab_metrics as metrics          # noqa: E402
from module_utils import homelab_plan as plan                # noqa: E402
from module_utils import homelab_program as program          # noqa: E402
from module_utils import homelab_reboot as reboot            # noqa: E402
from module_utils import homelab_system as system            # noqa: E402
from module_utils import homelab_upgrade as upgrade          # noqa: E402

# As apt-get 2.6 prints it.
SIMULATION = """\
Reading package lists...
The following packages have been kept back:
  lab-conf lab-kept
  lab-other
The following packages will be upgraded:
  lab-app libc6:i386
Remv lab-broken [1.0-1]
Inst lab-app [1.0-1] (2.0-1 Debian:12/oldstable [all])
Inst libc6:i386 [2.36-9] (2.36-9+deb12u1 Debian:12.1/oldstable, Debian-Security:12/oldstable-security [i386]) []
Inst linux-image-6.1.0-41-amd64 (6.1.101-1 Debian-Security:12/oldstable-security [amd64])
Inst own [1] (2 [all])
Conf lab-app (2.0-1 Debian:12/oldstable [all])
"""

NEEDRESTART = """\
NEEDRESTART-VER: 3.6
NEEDRESTART-KCUR: 6.1.0-40-amd64
NEEDRESTART-KEXP: 6.1.0-41-amd64
NEEDRESTART-KSTA: 3
NEEDRESTART-SVC: cron.service
NEEDRESTART-SVC: dbus.service
NEEDRESTART-SVC: homelab-patch.service
NEEDRESTART-SESS: someone @ session #3
"""


def as_numbers(a, b):
    """Version order of the kernels below, without dpkg."""
    def key(v):
        return [int(n) for n in v.replace('-', '.').replace('+', '.').split('.') if n.isdigit()]
    return key(a) > key(b)


class Simulation(unittest.TestCase):
    def setUp(self):
        self.sim = apt.parse_simulation(SIMULATION)

    def test_upgrade(self):
        self.assertEqual(self.sim['install']['lab-app'],
                         {'from': '1.0-1', 'to': '2.0-1', 'origin': 'Debian:12/oldstable', 'security': False})

    def test_foreign_architecture_from_two_archives_is_security(self):
        self.assertEqual(self.sim['install']['libc6:i386']['to'], '2.36-9+deb12u1')
        self.assertTrue(self.sim['install']['libc6:i386']['security'])

    def test_new_package_has_no_from(self):
        self.assertEqual(self.sim['install']['linux-image-6.1.0-41-amd64']['from'], '')

    def test_local_package_without_origin(self):
        self.assertEqual(self.sim['install']['own'], {'from': '1', 'to': '2', 'origin': '', 'security': False})

    def test_removed_and_kept(self):
        self.assertEqual(self.sim['remove'], {'lab-broken': '1.0-1'})
        self.assertEqual(self.sim['kept'], ['lab-conf', 'lab-kept', 'lab-other'])

    def test_nothing(self):
        self.assertEqual(apt.parse_simulation(''), {'install': {}, 'remove': {}, 'kept': [], 'phased': [], 'unneeded': False})

    def test_what_cannot_be_read_is_not_left_out(self):
        for line in ('Inst lab-app', 'Inst lab-app [1.0-1] (2.0-1 Debian:12', 'Remv '):
            with self.assertRaisesRegex(plan.Failure, 'cannot be read'):
                apt.parse_simulation(line + '\n')

    def test_what_nothing_needs_any_more(self):
        for text in ('The following package was automatically installed and is no longer required:\n  a\n',
                     'The following packages were automatically installed and are no longer required:\n  a b\n',
                     '2 packages were automatically installed and are no longer required.\n'):
            self.assertTrue(apt.parse_simulation(text)['unneeded'], text)


class Packages(unittest.TestCase):
    def test_installed(self):
        text = ('bash\tamd64\t5.2-1\tii \nlibc6\tamd64\t2\tii \nlibc6\ti386\t2\tii \ngone\tall\t1\trc \n'
                'half\tall\t3\tiF \nnever\tall\t\tun \n')
        with mock.patch.object(apt, 'database', lambda _when: apt.parse_database(text, 'amd64')):
            self.assertEqual(apt.installed(), {'bash': '5.2-1', 'libc6': '2', 'libc6:i386': '2', 'half': '3'})
            self.assertEqual(apt.held(), [])

    def test_changes(self):
        self.assertEqual(apt.changes({'a': '1', 'b': '1', 'c': '1'}, {'a': '2', 'b': '1', 'd': '1'}, {'a'}), [
            {'name': 'a', 'from': '1', 'to': '2', 'security': True},
            {'name': 'c', 'from': '1', 'to': '', 'security': False},
            {'name': 'd', 'from': '', 'to': '1', 'security': False}])

    def test_policy(self):
        text = 'a:\n  Installed: 1\n  Candidate: 2\n  Version table:\n     2 500\nb:\n  Installed: (none)\n  Candidate: 3\n'
        self.assertEqual(apt.parse_policy(text), {'a': ('1', '2'), 'b': ('', '3')})

    def test_globs(self):
        self.assertEqual(apt.matching(['docker-*', 'vim'], ['docker-ce', 'docker', 'vim', 'vim-tiny']), ['docker-ce', 'vim'])

    def test_first_broken_package(self):
        status = ('pmstatus:lab-app:10:Installed lab-app\n'
                  'pmerror:lab-broken:57.1:installed lab-broken package: exit status 1\npmerror:next:58:too\n')
        self.assertEqual(apt.broken_package(status, ''), ('lab-broken', 'installed lab-broken package: exit status 1'))
        self.assertEqual(apt.broken_package('pmerror:/var/cache/apt/archives/x_1_all.deb:9:overwrite', ''), ('x', 'overwrite'))
        self.assertEqual(apt.broken_package('', 'Errors were encountered while processing:\n lab-broken\nE: x'), ('lab-broken', ''))
        self.assertEqual(apt.broken_package('', 'fine'), ('', ''))

    def test_first_error(self):
        self.assertEqual(apt.first_error('W: x\nE: no disk\nE: y'), 'no disk')
        self.assertEqual(apt.first_error('killed\n\n'), 'killed')
        self.assertEqual(apt.first_error(''), 'no reason given')

    def test_pins_come_before_the_pattern_that_would_hide_them(self):
        text = apt.pin_text(['docker-ce'], ['docker-*'], {'docker-ce': '1.0'})
        self.assertLess(text.index('Pin: version 1.0'), text.index('Pin: release *'))
        self.assertIn('Package: docker-*\nPin: release *\nPin-Priority: -1\n', text)

    def test_pins_live_in_memory(self):
        with apt.pinned('Package: a\n') as (options, fds):
            path = options[1].split('=', 1)[1].replace('self', str(os.getpid()))
            self.assertTrue(system.read_text(path).startswith('Package: a\n'))
        with self.assertRaises(OSError):
            os.fstat(fds[0])


class Kernel(unittest.TestCase):
    def state(self, release, build='', **packages):
        packages = {n.replace('_', '-').replace('X', '.'): v for n, v in packages.items()}
        return reboot.kernel(packages, release, build, as_numbers)

    def test_newer_installed(self):
        found = self.state('6.1.0-9-amd64', linux_image_6X1X0_9_amd64='6.1.90-1', linux_image_6X1X0_10_amd64='6.1.99-1')
        self.assertEqual(found, {'running': '6.1.0-9-amd64', 'installed': '6.1.0-10-amd64', 'state': 'newer'})

    def test_current(self):
        self.assertEqual(self.state('6.1.0-9-amd64', linux_image_6X1X0_9_amd64='6.1.90-1')['state'], 'current')

    def test_same_name_rebuilt(self):
        found = self.state('6.1.0-9-amd64', '#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2026-01-01)',
                           linux_image_6X1X0_9_amd64='6.1.91-1')
        self.assertEqual(found['state'], 'newer')

    def test_another_flavour_is_no_reason(self):
        packages = {'linux-image-6.8.12-4-pve': '1', 'proxmox-kernel-6.8.12-4-pve-signed': '1', 'linux-image-6.9.0-1-amd64': '1'}
        self.assertEqual(reboot.kernel(packages, '6.8.12-4-pve', '', as_numbers)['state'], 'current')

    def test_trixie_names(self):
        packages = {'linux-image-6.12.48+deb13-amd64': '6.12.48-1', 'linux-image-6.12.57+deb13-amd64': '6.12.57-1'}
        self.assertEqual(reboot.kernel(packages, '6.12.48+deb13-amd64', '', as_numbers)['installed'], '6.12.57+deb13-amd64')

    def test_a_kernel_of_another_architecture_than_dpkgs(self):
        packages = {'linux-image-6.1.0-40-amd64:amd64': '6.1.1-1', 'linux-image-6.1.0-41-amd64:amd64': '6.1.2-1'}
        self.assertEqual(reboot.kernel(packages, '6.1.0-40-amd64', '', as_numbers)['state'], 'newer')

    def test_a_reboot_is_asked_for_by_an_empty_file(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(reboot, 'REQUIRED', folder + '/reboot-required'):
            self.assertEqual(reboot.reboot_required_file(), [])
            open(reboot.REQUIRED, 'w', encoding='utf-8').close()
            self.assertEqual(reboot.reboot_required_file(), [reboot.REQUIRED])
            with open(reboot.REQUIRED + '.pkgs', 'w', encoding='utf-8') as f:
                f.write('libc6\nlibc6\n')
            self.assertEqual(reboot.reboot_required_file(), ['asked for by libc6'])

    @unittest.skipUnless(shutil.which('perl'), 'needs perl')
    def test_what_needrestart_is_set_to_leave_alone(self):
        services = ['bird.service', 'cron.service', 'lab-app.service']
        with tempfile.NamedTemporaryFile('w') as f, mock.patch.object(reboot, 'SETTINGS', f.name):
            f.write('$nrconf{override_rc} = { qr(^bird) => 0, qr(^cron) => 1, };\n$nrconf{override_rc}->{qr(^lab-)} = 0;\n')
            f.flush()
            self.assertEqual(reboot.overridden(services), ['bird.service', 'lab-app.service'])
            f.write('not perl at all {\n')
            f.flush()
            self.assertEqual(reboot.overridden(services), services)
            self.assertEqual(reboot.overridden([]), [])
        with mock.patch.object(reboot, 'SETTINGS', '/nowhere'):
            self.assertEqual(reboot.overridden(services), [])

    def test_a_kernel_of_no_package_is_unknown(self):
        self.assertEqual(self.state('6.18.44-own', linux_image_6X1X0_9_amd64='6.1.90-1')['state'], 'unknown')

    def reasons(self, release, kernel_state, services=()):
        answers = {'-r': release, '-v': ''}
        done = mock.Mock(side_effect=lambda argv, **_: mock.Mock(stdout=answers[argv[1]]))
        with mock.patch.object(reboot, 'run', done), mock.patch.object(reboot, 'read_text', lambda path: ''), \
                mock.patch.object(reboot, 'installed', lambda: {'linux-image-6.1.0-9-amd64': '6.1.90-1'}):
            return reboot.state({'kernel': kernel_state, 'services': list(services)})[1]

    def test_needrestart_is_believed_only_about_a_packaged_kernel(self):
        self.assertEqual(len(self.reasons('6.1.0-9-amd64', 3)), 1)
        self.assertEqual(self.reasons('6.1.0-9-amd64', 1), [])
        self.assertEqual(self.reasons('6.18.44-own', 3), [])

    def test_services_that_must_not_be_restarted_ask_for_a_reboot(self):
        self.assertEqual(self.reasons('x', 0, ['cron.service', 'docker.service', 'pve-cluster.service']), [
            'docker.service runs old code and is only replaced by a reboot',
            'pve-cluster.service runs old code and is only replaced by a reboot'])

    def test_needrestart(self):
        self.assertEqual(reboot.parse_needrestart(NEEDRESTART), {'kernel': 3, 'services': ['cron.service', 'dbus.service']})

    def test_never_restart(self):
        for name in ('docker.service', 'containerd.service', 'dbus.service', 'dbus-broker.service', 'systemd-logind.service',
                     'pveproxy.service', 'pve-cluster.service', 'qmeventd.service', 'corosync.service', 'ceph-osd@1.service',
                     'libvirtd.service', 'virtqemud.service', 'virtlogd.service', 'lxcfs.service', 'watchdog-mux.service',
                     'gdm.service', 'gdm3.service', 'lightdm.service', 'sddm.service', 'display-manager.service',
                     'iscsid.service', 'multipathd.service', 'systemd-networkd.service', 'networking.service',
                     'ifup@eth0.service', 'NetworkManager.service', 'wg-quick@wg0.service', 'openvpn@home.service',
                     'openvpn-server@home.service', 'tailscaled.service', 'user@1000.service', 'getty@tty1.service',
                     'ssh@1-192.0.2.1:22.service', 'homelab-patch.service', 'homelab-patch-orchestrate.service'):
            self.assertTrue(reboot.spared(name), name)
        for name in ('ssh.service', 'cron.service', 'nginx.service', 'systemd-journald.service', 'systemd-resolved.service',
                     'virtuoso.service', 'mygdm.service'):
            self.assertFalse(reboot.spared(name), name)

    def test_the_service_a_run_was_started_in_is_not_restarted(self):
        self.assertTrue(reboot.spared('cron.service', ['cron.service']))
        for cgroup, want in (('0::/system.slice/cron.service\n', ['cron.service']),
                             ('0::/system.slice/ssh.service\n', []), ('0::/user.slice/user-0.slice/session-3.scope\n', []),
                             ('1:name=systemd:/user.slice/user@0.service/app.slice/my.service\n0::/\n',
                              ['my.service', 'user@0.service']), ('', [])):
            with mock.patch.object(system, 'read_text', lambda path, text=cgroup: text):
                self.assertEqual(system.caller(), want)

    def test_forecast(self):
        self.assertIn('is a new kernel', reboot.forecast(['linux-image-6.1.0-41-amd64', 'vim']))
        self.assertEqual(reboot.forecast(['linux-image-amd64', 'vim']), '')


class Metrics(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for module, name in ((metrics, 'METRICS'), (system, 'STATE'), (system, 'LOCK')):
            patch = mock.patch.object(module, name, os.path.join(self.folder, name))
            patch.start()
            self.addCleanup(patch.stop)

    def publish(self, **how):
        warning = metrics.publish(self.folder, pending=dict.fromkeys(('security', 'other', 'held', 'kept_back'), 2),
                                  reboot_required=True, **how)
        self.assertEqual(warning, '')
        path = os.path.join(self.folder, 'patch.prom')
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)
        return system.read_text(path)

    def test_encoding(self):
        text = self.publish(upgraded=3, success=False)
        self.assertIn('homelab_patch_packages_pending{kind="kept_back"} 2\n', text)
        self.assertIn('homelab_patch_reboot_required 1\n', text)
        self.assertIn('homelab_patch_last_success_unixtime 0\n', text)
        self.assertTrue(text.endswith('\n') and not text.endswith('\n\n'))
        for name, _ in metrics.FAMILIES:
            self.assertEqual(text.count('# TYPE %s gauge\n' % name), 1)
            self.assertEqual(text.count('# HELP %s ' % name), 1)

    def test_failure_and_timer_keep_the_last_success(self):
        with mock.patch.object(metrics.time, 'time', lambda: 1700000000.5):
            self.publish(upgraded=5, success=True)
        for text in (self.publish(upgraded=0, success=False), self.publish()):
            self.assertIn('homelab_patch_last_success_unixtime 1700000000\n', text)
        self.assertIn('homelab_patch_packages_upgraded 0\n', text)

    def test_nothing_half_written_is_left(self):
        self.publish(upgraded=1)
        self.assertEqual([n for n in os.listdir(self.folder) if n.endswith('.new')], [])

    def test_a_missing_folder_is_a_warning_and_is_not_made(self):
        path = os.path.join(self.folder, 'no', 'where')
        warning = metrics.publish(path, pending={'other': 0}, reboot_required=False)
        self.assertIn('does not exist', warning)
        self.assertFalse(os.path.exists(path))


class Policy(unittest.TestCase):
    def removable(self, mode, names, **upgrade):
        """upgrade is what apt says of an upgrade: nothing to do, and whether something is needed no longer, if not given."""
        self.asked = []

        def simulate(args, **_):
            self.asked.append(args[0])
            if args[0] == 'upgrade':
                return dict({'rc': 0, 'install': {}, 'remove': {}, 'unneeded': bool(names)}, **upgrade)
            return {'remove': dict.fromkeys([a for a in args[1:] if a[0] != '-'] or names, '1')}
        with mock.patch.object(plan.apt, 'simulate', simulate):
            return plan.removable({'autoremove': mode, 'exclude': []}, '6.1.0-40-amd64')

    def test_autoremove(self):
        names = ['linux-image-6.1.0-40-amd64', 'linux-image-6.1.0-39-amd64', 'linux-headers-6.1.0-39-common', 'libold']
        self.assertEqual(self.removable('none', names), [])
        self.assertEqual(self.removable('kernels', names), ['linux-headers-6.1.0-39-common', 'linux-image-6.1.0-39-amd64'])
        self.assertNotIn('linux-image-6.1.0-40-amd64', self.removable('all', names))
        self.assertIn('libold', self.removable('all', names))

    def test_autoremove_is_asked_for_only_where_something_may_go(self):
        self.assertEqual(self.removable('all', []), [])
        self.assertEqual(self.asked, ['upgrade'])
        for said in ({'rc': 100}, {'install': {'lab-app': {}}}, {'remove': {'lab-app': '1'}}):     # then it says nothing of now
            self.assertEqual(self.removable('all', ['libold'], unneeded=False, **said), ['libold'], said)

    def test_space(self):
        policy = {'min_free_mib': {'/': 1 << 40, '/nowhere': 1 << 40}}
        self.assertEqual(len(plan.short_of_space(policy, [])), 1)
        self.assertIn('make room', plan.short_of_space(policy, [])[0])
        self.assertEqual(plan.short_of_space({'min_free_mib': {'/': 0}}, []), [])


class Program(unittest.TestCase):
    def test_it_is_one_file_that_runs(self):
        data = program.program()
        self.assertEqual(data, program.program())
        self.assertTrue(data.startswith(b'#!/usr/bin/python3\n'))
        self.assertIn('homelab_patch/homelab_upgrade.py', zipfile.ZipFile(io.BytesIO(data)).namelist())
        with tempfile.NamedTemporaryFile() as f:
            f.write(data)
            f.flush()
            done = system.run([sys.executable, f.name, '--help'])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('metrics', done.stdout)

    def test_a_lock_is_named_with_its_holder(self):
        with tempfile.NamedTemporaryFile() as f, mock.patch.object(upgrade, 'LOCKS', ('/nowhere/lock', f.name)):
            self.assertEqual(upgrade.lock_holder(), ('', 0))
            child = upgrade.subprocess.Popen(
                [sys.executable, '-c', 'import fcntl,sys; f=open(sys.argv[1],"w"); fcntl.lockf(f,fcntl.LOCK_EX);'
                 ' print("held", flush=True); sys.stdin.read()', f.name], stdin=-1, stdout=-1)
            try:
                child.stdout.readline()
                self.assertEqual(upgrade.lock_holder(), (f.name, child.pid))
                self.assertIn('process %d (' % child.pid, upgrade.process_name(child.pid))
            finally:
                child.communicate()

    def test_the_empty_result_has_all_keys(self):
        self.assertEqual(sorted(system.empty_result()), sorted([
            'version', 'run', 'check', 'hold', 'packages', 'held_packages', 'kept_back', 'excluded', 'conffiles',
            'lists_age_seconds', 'warnings', 'reboot_required', 'reboot_reasons', 'reboot_forecast', 'reboot_due',
            'rebooted', 'reboot_futile', 'kernel',
            'services_restarted', 'failed_units', 'dpkg_audit', 'reattached', 'replaced', 'rollback', 'failure', 'suite',
            'architecture', 'archives', 'conffile_prompts', 'services_forecast']))


if __name__ == '__main__':
    unittest.main()
