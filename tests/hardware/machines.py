"""Machines as their kernels show them, each a tree of files below a folder that stands for ``/``.

``CLOUD_GUEST`` was recorded on a Firecracker guest with control groups of version 1. The others are written as the
kernel's documentation describes the files (see the sources named in the modules).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

GIB = 2**30
# A value that starts with "->" is a symbolic link.
Tree = Mapping[str, str]


def plant(tree: Tree, root: Path) -> Path:
    """Write a machine's files below ``root``; a path that ends in ``/`` is an empty folder."""
    for name, text in tree.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            path.symlink_to(text.removeprefix("->"))
        else:
            path.write_text(text + "\n", encoding="utf-8")
    return root


def _cpus(count: int, threads: int, caches: Tree) -> dict[str, str]:
    """Topology of one socket: ``count`` logical cores, so many on each physical one; ``{core}`` in caches."""
    tree = {"sys/devices/system/cpu/online": f"0-{count - 1}"}
    for number in range(count):
        base = f"sys/devices/system/cpu/cpu{number}"
        core = number // threads
        together = f"{core * threads}-{core * threads + threads - 1}" if threads > 1 else str(core)
        tree |= {f"{base}/topology/physical_package_id": "0", f"{base}/topology/core_id": str(core)}
        tree |= {f"{base}/cache/{name}": text.replace("{core}", together) for name, text in caches.items()}
    return tree


CLOUD_GUEST: Tree = {
    **_cpus(
        2,
        1,
        {
            "index0/level": "1",
            "index0/type": "Data",
            "index0/size": "32K",
            "index0/shared_cpu_list": "{core}",
            "index1/level": "1",
            "index1/type": "Instruction",
            "index1/size": "32K",
            "index1/shared_cpu_list": "{core}",
            "index2/level": "2",
            "index2/type": "Unified",
            "index2/size": "512K",
            "index2/shared_cpu_list": "{core}",
            "index3/level": "3",
            "index3/type": "Unified",
            "index3/size": "32768K",
            "index3/shared_cpu_list": "0-1",
        },
    ),
    "proc/cpuinfo": "\n".join(
        f"processor\t: {n}\nvendor_id\t: AuthenticAMD\nmodel\t\t: 1\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2445.406\n"
        "flags\t\t: fpu sse sse2 ht fma sse4_1 sse4_2 aes avx f16c hypervisor avx2 sha_ni\n"
        for n in (0, 1)
    ),
    "proc/meminfo": "MemTotal:       24683656 kB\nMemFree:        22694924 kB\nMemAvailable:   24239932 kB\n"
    "SwapTotal:             0 kB\nSwapFree:              0 kB\nHugePages_Total:       0",
    "proc/self/status": "Name:\tpython\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1",
    "proc/self/cgroup": "4:memory:/process_api/job\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/",
    "proc/self/mountinfo": "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24683656k",
    "proc/net/route": "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
    "proc/net/ipv6_route": "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0",
    "proc/sys/kernel/osrelease": "6.18.44-fc",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"',
    "etc/resolv.conf": "# written by the host\nnameserver 192.0.2.53",
    "sys/class/net/lo/type": "772",
    "sys/class/net/eth0/type": "1",
    "sys/class/net/eth0/operstate": "up",
    "sys/class/net/eth0/speed": "-1",
    "sys/class/net/eth0/mtu": "1400",
    "sys/class/net/eth0/device/": "",
    "sys/class/net/ifb0/type": "1",
    "sys/class/net/ifb0/operstate": "down",
    "sys/class/net/ifb0/mtu": "1500",
    "sys/devices/virtio0/block/vda/size": "536870912",
    "sys/devices/virtio0/block/vda/queue/rotational": "1",
    "sys/block/vda": "->../devices/virtio0/block/vda",
    "sys/class/block/vda": "->../../devices/virtio0/block/vda",
    "sys/dev/block/254:0": "->../../devices/virtio0/block/vda",
    "sys/block/loop0/size": "0",
    "sys/block/zram0/size": "4096",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
}

# A laptop: two threads a core, an NVMe drive with an encrypted volume on its second partition, everything there.
LAPTOP: Tree = {
    **_cpus(
        8,
        2,
        {
            "index0/level": "1",
            "index0/type": "Data",
            "index0/size": "48K",
            "index0/shared_cpu_list": "{core}",
            "index3/level": "3",
            "index3/type": "Unified",
            "index3/size": "12M",
            "index3/shared_cpu_list": "0-7",
        },
    ),
    "proc/cpuinfo": "\n".join(
        f"processor\t: {n}\nmodel name\t: Intel(R) Core(TM) i7-1165G7 @ 2.80GHz\n"
        "flags\t\t: fpu sse4_2 avx avx2 fma avx512f\n"
        for n in range(8)
    ),
    **{f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": str(1_000_000 + 200_000 * n) for n in range(8)},
    **{f"sys/devices/system/cpu/cpu{n}/cpufreq/cpuinfo_max_freq": "4700000" for n in range(8)},
    "proc/meminfo": "MemTotal:       16314320 kB\nMemAvailable:    9000000 kB\nSwapTotal:       8388604 kB\n"
    "SwapFree:        8000000 kB",
    "proc/self/status": "Cpus_allowed_list:\t0-7",
    "proc/self/mountinfo": "30 1 254:1 / / rw,relatime - ext4 /dev/mapper/root rw\n"
    "31 30 0:40 / /mnt/quote\\040data rw - nfs4 nas.example:/export rw\n"
    "32 30 0:41 / /scratch rw - tmpfs tmpfs rw",
    "proc/sys/kernel/osrelease": "6.1.0-28-amd64",
    "sys/class/dmi/id/sys_vendor": "LENOVO",
    "sys/class/dmi/id/product_name": "20XW00FPGE",
    "sys/devices/nvme/nvme0n1/size": "1000215216",
    "sys/devices/nvme/nvme0n1/queue/rotational": "0",
    "sys/devices/nvme/nvme0n1/device/model": "SAMSUNG MZVLB512HBJQ-000L7",
    "sys/devices/nvme/nvme0n1/nvme0n1p2/partition": "2",
    "sys/block/nvme0n1": "->../devices/nvme/nvme0n1",
    "sys/class/block/nvme0n1": "->../../devices/nvme/nvme0n1",
    "sys/class/block/nvme0n1p2": "->../../devices/nvme/nvme0n1/nvme0n1p2",
    "sys/devices/virtual/dm-0/slaves/nvme0n1p2/": "",
    "sys/devices/virtual/dm-1/slaves/dm-0/": "",
    "sys/class/block/dm-0": "->../../devices/virtual/dm-0",
    "sys/class/block/dm-1": "->../../devices/virtual/dm-1",
    "sys/dev/block/254:1": "->../../devices/virtual/dm-1",
    "sys/class/net/wlp0s20f3/type": "1",
    "sys/class/net/wlp0s20f3/operstate": "up",
    "sys/class/net/wlp0s20f3/mtu": "1500",
    "sys/class/net/wlp0s20f3/phy80211/": "",
    "sys/class/net/enp0s31f6/type": "1",
    "sys/class/net/enp0s31f6/operstate": "down",
    "sys/class/net/enp0s31f6/speed": "1000",
    "sys/class/net/enp0s31f6/mtu": "1500",
    "sys/class/net/enp0s31f6/device/": "",
    "sys/class/hwmon/hwmon4/name": "coretemp",
    "sys/class/hwmon/hwmon4/temp1_input": "51000",
    "sys/class/hwmon/hwmon4/temp1_label": "Package id 0",
    "sys/class/hwmon/hwmon4/temp1_crit": "100000",
    "sys/class/hwmon/hwmon5/name": "thinkpad",
    "sys/class/hwmon/hwmon5/fan1_input": "2710",
    "sys/class/hwmon/hwmon5/temp3_input": "",
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": "1",
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/status": "Charging",
    "sys/class/power_supply/BAT0/capacity": "83",
    "sys/class/power_supply/hidpp_battery_0/type": "Battery",
    "sys/class/power_supply/hidpp_battery_0/scope": "Device",
    "sys/class/power_supply/hidpp_battery_0/capacity": "50",
    "sys/class/drm/card0-eDP-1/status": "connected",
    "sys/class/drm/card0-eDP-1/modes": "1920x1200\n1920x1080",
    "sys/class/drm/card0-HDMI-A-1/status": "disconnected",
}

# A pod on a shared node: one core and a half, two GiB, on an overlay, version 2 of the control groups.
POD: Tree = {
    **_cpus(64, 2, {}),
    "proc/cpuinfo": "\n".join(
        f"processor\t: {n}\nmodel name\t: Intel(R) Xeon(R) Platinum 8375C\nflags\t\t: fpu hypervisor avx512f\n"
        for n in range(64)
    ),
    "proc/meminfo": "MemTotal:       263921004 kB\nMemAvailable:   120000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB",
    "proc/self/status": "Cpus_allowed_list:\t0-63",
    "proc/self/cgroup": "0::/",
    "sys/fs/cgroup/cpu.max": "150000 100000",
    "sys/fs/cgroup/memory.max": str(2 * GIB),
    "sys/fs/cgroup/memory.current": str(GIB),
    "sys/fs/cgroup/memory.stat": f"anon {GIB // 2}\ninactive_file {GIB // 4}",
    "proc/self/mountinfo": "500 400 0:100 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b\n"
    "501 500 259:3 / /data rw - xfs /dev/nvme1n1 rw",
    "sys/class/dmi/id/sys_vendor": "Amazon EC2",
    "sys/class/dmi/id/product_name": "m6i.16xlarge",
}

# A small Arm board: no model name per core, no topology of caches, temperature in a thermal zone only.
BOARD: Tree = {
    **_cpus(4, 1, {}),
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n\nprocessor\t: 1\n\n"
    "Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4",
    "proc/meminfo": "MemTotal: 3884352 kB\nMemAvailable: 3000000 kB\nSwapTotal: 102396 kB\nSwapFree: 102396 kB",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "48686",
    "sys/class/thermal/cooling_device0/type": "gpio-fan",
    "sys/block/mmcblk0/size": "62333952",
    "sys/block/mmcblk0/device/name": "SD32G",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
}

# Nothing but the root.
BARE: Tree = {"proc/": ""}
