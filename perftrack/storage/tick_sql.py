"""The tick's SQL. Generated from models.py by `python -m perftrack.storage.statements`; do not edit."""

# The newest revision in migrations/, which the INSERTs fit.
REVISION = "0009"
SELECT_LIVING_CGROUPS = """
SELECT cgroup.path, cgroup.inode, cgroup.id, cgroup.latest_sample_id, cgroup_sample.cpu_user_ms,
cgroup_sample.cpu_system_ms, cgroup_sample.memory_bytes, cgroup_sample.memory_peak_bytes,
cgroup_sample.oom_kills, cgroup_sample.read_bytes, cgroup_sample.write_bytes, cgroup_sample.tasks FROM cgroup
LEFT OUTER JOIN cgroup_sample ON cgroup_sample.sample_id = cgroup.latest_sample_id AND cgroup_sample.cgroup_id
= cgroup.id WHERE cgroup.boot_id = :boot_id AND cgroup.gone_sample_id IS NULL
"""
SELECT_NEWEST_SAMPLE = """
SELECT system_sample.id, system_sample.uptime_seconds, system_sample.cpu_user_ms, system_sample.cpu_system_ms,
system_sample.cpu_idle_ms, system_sample.cpu_iowait_ms, system_sample.cpu_steal_ms FROM system_sample WHERE
system_sample.boot_id = :boot_id AND system_sample.uptime_seconds <= :until_uptime_seconds AND (:recorder_id
IS NULL OR system_sample.recorder_id = :recorder_id) ORDER BY system_sample.uptime_seconds DESC
"""
SELECT_SAME_SAMPLE = """
SELECT system_sample.id FROM system_sample WHERE system_sample.boot_id IS :boot_id AND system_sample.taken_at
IS :taken_at AND system_sample.uptime_seconds IS :uptime_seconds AND system_sample.recorder_id IS :recorder_id
AND system_sample.listed_uptime_seconds IS :listed_uptime_seconds AND system_sample.read_uptime_seconds IS
:read_uptime_seconds AND system_sample.window_seconds IS :window_seconds AND system_sample.cpu_percent IS
:cpu_percent AND system_sample.cpu_user_ms IS :cpu_user_ms AND system_sample.cpu_system_ms IS :cpu_system_ms
AND system_sample.cpu_idle_ms IS :cpu_idle_ms AND system_sample.cpu_iowait_ms IS :cpu_iowait_ms AND
system_sample.cpu_steal_ms IS :cpu_steal_ms AND system_sample.cpu_count IS :cpu_count AND
system_sample.load_1min IS :load_1min AND system_sample.load_5min IS :load_5min AND system_sample.load_15min
IS :load_15min AND system_sample.mem_total_bytes IS :mem_total_bytes AND system_sample.mem_available_bytes IS
:mem_available_bytes AND system_sample.mem_used_bytes IS :mem_used_bytes AND system_sample.swap_total_bytes IS
:swap_total_bytes AND system_sample.swap_used_bytes IS :swap_used_bytes AND system_sample.disk_set_id IS
:disk_set_id AND system_sample.disk_read_bytes IS :disk_read_bytes AND system_sample.disk_write_bytes IS
:disk_write_bytes AND system_sample.net_set_id IS :net_set_id AND system_sample.net_sent_bytes IS
:net_sent_bytes AND system_sample.net_received_bytes IS :net_received_bytes AND system_sample.pressure_cpu_ms
IS :pressure_cpu_ms AND system_sample.pressure_memory_ms IS :pressure_memory_ms AND
system_sample.pressure_io_ms IS :pressure_io_ms AND system_sample.forks IS :forks AND
system_sample.context_switches IS :context_switches AND system_sample.oom_kills IS :oom_kills AND
system_sample.tasks_running IS :tasks_running AND system_sample.tasks_blocked IS :tasks_blocked AND
system_sample.processes_seen IS :processes_seen AND system_sample.processes_denied IS :processes_denied AND
system_sample.recorder_cpu_ms IS :recorder_cpu_ms
"""
INSERT_HOST = """
INSERT INTO host (name) VALUES (:name)
"""
INSERT_BOOT = """
INSERT INTO boot (host_id, "key", booted_at) VALUES (:host_id, :key, :booted_at)
"""
INSERT_CGROUP = """
INSERT INTO cgroup (boot_id, path, inode, unit, parent_id, latest_sample_id, gone_sample_id) VALUES (:boot_id,
:path, :inode, :unit, :parent_id, :latest_sample_id, :gone_sample_id)
"""
INSERT_CGROUP_SAMPLE = """
INSERT INTO cgroup_sample (sample_id, cgroup_id, previous_sample_id, cpu_user_ms, cpu_system_ms, memory_bytes,
memory_peak_bytes, oom_kills, read_bytes, write_bytes, tasks) VALUES (:sample_id, :cgroup_id,
:previous_sample_id, :cpu_user_ms, :cpu_system_ms, :memory_bytes, :memory_peak_bytes, :oom_kills, :read_bytes,
:write_bytes, :tasks)
"""
INSERT_RECORDER = """
INSERT INTO recorder (username, selection) VALUES (:username, :selection)
"""
INSERT_DEVICE_SET = """
INSERT INTO device_set (names) VALUES (:names)
"""
INSERT_SYSTEM_SAMPLE = """
INSERT INTO system_sample (boot_id, taken_at, taken_at_local, uptime_seconds, recorder_id,
listed_uptime_seconds, read_uptime_seconds, window_seconds, cpu_percent, cpu_user_ms, cpu_system_ms,
cpu_idle_ms, cpu_iowait_ms, cpu_steal_ms, cpu_count, load_1min, load_5min, load_15min, mem_total_bytes,
mem_available_bytes, mem_used_bytes, swap_total_bytes, swap_used_bytes, disk_set_id, disk_read_bytes,
disk_write_bytes, net_set_id, net_sent_bytes, net_received_bytes, pressure_cpu_ms, pressure_memory_ms,
pressure_io_ms, forks, context_switches, oom_kills, tasks_running, tasks_blocked, cgroups_seen,
processes_seen, processes_denied, recorder_cpu_ms) VALUES (:boot_id, :taken_at, :taken_at_local,
:uptime_seconds, :recorder_id, :listed_uptime_seconds, :read_uptime_seconds, :window_seconds, :cpu_percent,
:cpu_user_ms, :cpu_system_ms, :cpu_idle_ms, :cpu_iowait_ms, :cpu_steal_ms, :cpu_count, :load_1min, :load_5min,
:load_15min, :mem_total_bytes, :mem_available_bytes, :mem_used_bytes, :swap_total_bytes, :swap_used_bytes,
:disk_set_id, :disk_read_bytes, :disk_write_bytes, :net_set_id, :net_sent_bytes, :net_received_bytes,
:pressure_cpu_ms, :pressure_memory_ms, :pressure_io_ms, :forks, :context_switches, :oom_kills, :tasks_running,
:tasks_blocked, :cgroups_seen, :processes_seen, :processes_denied, :recorder_cpu_ms)
"""
INSERT_PROCESS = """
INSERT INTO process (boot_id, pid, started_ticks, started_at, name, ppid, username, cgroup_id, command) VALUES
(:boot_id, :pid, :started_ticks, :started_at, :name, :ppid, :username, :cgroup_id, :command)
"""
INSERT_NAME_FILTER = """
INSERT INTO name_filter (text, rank) VALUES (:text, 0)
"""
INSERT_PROCESS_SAMPLE = """
INSERT INTO process_sample (sample_id, process_id, filter_id, cpu_percent, cpu_user_ms, cpu_system_ms,
children_user_ms, children_system_ms, rss_bytes, vms_bytes, num_threads, major_faults, read_bytes,
write_bytes, own_read_bytes, own_write_bytes, uss_bytes, pss_bytes, swap_bytes) VALUES (?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# What recording fills of a table: all but the ids.
SYSTEM_SAMPLE_COLUMNS = [
    "taken_at",
    "taken_at_local",
    "uptime_seconds",
    "listed_uptime_seconds",
    "read_uptime_seconds",
    "window_seconds",
    "cpu_percent",
    "cpu_user_ms",
    "cpu_system_ms",
    "cpu_idle_ms",
    "cpu_iowait_ms",
    "cpu_steal_ms",
    "cpu_count",
    "load_1min",
    "load_5min",
    "load_15min",
    "mem_total_bytes",
    "mem_available_bytes",
    "mem_used_bytes",
    "swap_total_bytes",
    "swap_used_bytes",
    "disk_read_bytes",
    "disk_write_bytes",
    "net_sent_bytes",
    "net_received_bytes",
    "pressure_cpu_ms",
    "pressure_memory_ms",
    "pressure_io_ms",
    "forks",
    "context_switches",
    "oom_kills",
    "tasks_running",
    "tasks_blocked",
    "cgroups_seen",
    "processes_seen",
    "processes_denied",
    "recorder_cpu_ms",
]
CGROUP_COLUMNS = [
    "path",
    "inode",
]
CGROUP_SAMPLE_COLUMNS = [
    "cpu_user_ms",
    "cpu_system_ms",
    "memory_bytes",
    "memory_peak_bytes",
    "oom_kills",
    "read_bytes",
    "write_bytes",
    "tasks",
]
PROCESS_COLUMNS = [
    "pid",
    "started_ticks",
    "started_at",
    "name",
    "ppid",
    "username",
    "command",
]
PROCESS_SAMPLE_COLUMNS = [
    "cpu_percent",
    "cpu_user_ms",
    "cpu_system_ms",
    "children_user_ms",
    "children_system_ms",
    "rss_bytes",
    "vms_bytes",
    "num_threads",
    "major_faults",
    "read_bytes",
    "write_bytes",
    "own_read_bytes",
    "own_write_bytes",
    "uss_bytes",
    "pss_bytes",
    "swap_bytes",
]
# What may be condensed and is not yet: the words of an index.
ORDINARY = "samples IS NULL AND uptime_seconds IS NOT NULL"
# What condensing adds up over several samples, and what it keeps the largest value of.
SYSTEM_SAMPLE_COUNTERS = [
    "cpu_user_ms",
    "cpu_system_ms",
    "cpu_idle_ms",
    "cpu_iowait_ms",
    "cpu_steal_ms",
    "disk_read_bytes",
    "disk_write_bytes",
    "net_sent_bytes",
    "net_received_bytes",
    "pressure_cpu_ms",
    "pressure_memory_ms",
    "pressure_io_ms",
    "forks",
    "context_switches",
    "oom_kills",
]
SYSTEM_SAMPLE_LARGEST = [
    "cpu_percent_max",
    "load_1min_max",
    "load_5min_max",
    "load_15min_max",
    "mem_used_max_bytes",
    "swap_used_max_bytes",
    "disk_read_max_bytes_per_second",
    "disk_write_max_bytes_per_second",
    "net_sent_max_bytes_per_second",
    "net_received_max_bytes_per_second",
    "pressure_cpu_max_percent",
    "pressure_memory_max_percent",
    "pressure_io_max_percent",
    "forks_max_per_second",
    "tasks_running_max",
    "tasks_blocked_max",
]
CGROUP_SAMPLE_COUNTERS = [
    "cpu_user_ms",
    "cpu_system_ms",
    "oom_kills",
    "read_bytes",
    "write_bytes",
]
CGROUP_SAMPLE_LARGEST = [
    "cpu_percent_max",
    "memory_max_bytes",
    "tasks_max",
]
PROCESS_SAMPLE_COUNTERS = [
    "cpu_user_ms",
    "cpu_system_ms",
    "children_user_ms",
    "children_system_ms",
    "major_faults",
    "read_bytes",
    "write_bytes",
    "own_read_bytes",
    "own_write_bytes",
]
PROCESS_SAMPLE_LARGEST = [
    "cpu_percent_max",
    "rss_max_bytes",
    "num_threads_max",
]
