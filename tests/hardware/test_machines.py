"""What is read of recorded and documented machines; expected values are read off the files by hand."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hardware.machines import BARE, BOARD, CLOUD_GUEST, GIB, LAPTOP, POD, plant

from workbench.hardware.cgroups import Limits, read_limits
from workbench.hardware.cpu import Cache, read_cpu
from workbench.hardware.disk import Drive, read_disk, read_drives
from workbench.hardware.host import read_cloud, read_host, read_virtualization
from workbench.hardware.memory import read_memory
from workbench.hardware.network import Interface, Network, Route, read_network
from workbench.hardware.sensors import Fan, Power, Screen, Sensors, Temperature, read_sensors

KIB = 2**10


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    return plant(CLOUD_GUEST, tmp_path)


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    return plant(LAPTOP, tmp_path)


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    return plant(POD, tmp_path)


def limits(root: Path) -> Limits:
    return read_limits(root / "sys/fs/cgroup", root / "proc/self/cgroup")


# ---- processor -----------------------------------------------------------------------------------


def test_a_guest_has_cores_caches_and_the_frequency_it_was_given(guest: Path) -> None:
    cpu = read_cpu(limits(guest), guest)
    assert (cpu.model, cpu.sockets, cpu.cores_physical, cpu.cores_logical, cpu.cores_usable) == ("AMD EPYC", 1, 2, 2, 2)
    # as `lscpu` prints them: L1d 64 KiB (2 instances), L1i 64 KiB (2), L2 1 MiB (2), L3 32 MiB (1)
    assert cpu.caches == (
        Cache(1, "data", 32 * KIB, 2, 1), Cache(1, "instruction", 32 * KIB, 2, 1),
        Cache(2, "unified", 512 * KIB, 2, 1), Cache(3, "unified", 32768 * KIB, 1, 2),
    )  # fmt: skip
    assert cpu.frequency_mhz == pytest.approx(2445.406)
    assert cpu.frequency_max_mhz is None
    assert cpu.instructions == ("SSE4.2", "AVX", "F16C", "FMA", "AVX2", "AES", "SHA")


def test_two_threads_of_a_core_are_one_physical_core(laptop: Path) -> None:
    cpu = read_cpu(limits(laptop), laptop)
    assert (cpu.cores_physical, cpu.cores_logical, cpu.cores_usable) == (4, 8, 8)
    assert cpu.caches == (Cache(1, "data", 48 * KIB, 4, 2), Cache(3, "unified", 12 * 2**20, 1, 8))
    # (1.0 + 1.2 + ... + 2.4) / 8 GHz
    assert (cpu.frequency_mhz, cpu.frequency_max_mhz) == (pytest.approx(1700), 4700)
    assert "AVX-512" in cpu.instructions


def test_a_pod_counts_its_share_and_not_the_nodes_cores(pod: Path) -> None:
    cpu = read_cpu(limits(pod), pod)
    assert (cpu.cores_physical, cpu.cores_logical, cpu.cores_usable) == (32, 64, 1.5)


def test_a_process_pinned_to_some_cores_counts_only_those(laptop: Path) -> None:
    (laptop / "proc/self/status").write_text("Cpus_allowed_list:\t0,4-5\n")
    assert read_cpu(limits(laptop), laptop).cores_usable == 3


def test_a_board_without_a_model_name_is_called_by_its_own(tmp_path: Path) -> None:
    cpu = read_cpu(Limits(), plant(BOARD, tmp_path))
    assert (cpu.model, cpu.cores_physical, cpu.caches) == ("Raspberry Pi 4 Model B Rev 1.4", 4, ())
    assert cpu.instructions == ("NEON",)


def test_a_machine_that_tells_nothing_of_its_processor_crashes_nothing(tmp_path: Path) -> None:
    cpu = read_cpu(Limits(), plant(BARE, tmp_path))
    assert (cpu.model, cpu.sockets, cpu.cores_physical, cpu.cores_logical) == (None, None, None, None)
    assert cpu.cores_usable >= 1
    assert (cpu.caches, cpu.frequency_mhz, cpu.instructions) == ((), None, ())


# ---- memory --------------------------------------------------------------------------------------


def test_memory_without_a_limit_is_the_hosts(laptop: Path) -> None:
    found = read_memory(limits(laptop), laptop)
    assert (found.host_bytes, found.total_bytes, found.available_bytes) == (
        16314320 * KIB, 16314320 * KIB, 9000000 * KIB,
    )  # fmt: skip
    assert (found.swap_bytes, found.swap_used_bytes) == (8388604 * KIB, 388604 * KIB)


def test_memory_of_a_pod_is_its_limit_less_what_it_cannot_give_back(pod: Path) -> None:
    found = read_memory(limits(pod), pod)
    # 2 GiB less (1 GiB used, of which a quarter is page cache that can be dropped)
    assert (found.total_bytes, found.available_bytes) == (2 * GIB, 2 * GIB - (GIB - GIB // 4))
    assert found.host_bytes == 263921004 * KIB


def test_a_limit_above_what_the_host_has_limits_nothing(laptop: Path) -> None:
    found = read_memory(Limits(memory_bytes=2**50, memory_used_bytes=0), laptop)
    assert found.total_bytes == found.host_bytes


def test_memory_is_asked_of_psutil_where_there_is_no_meminfo(tmp_path: Path) -> None:
    assert read_memory(Limits(), tmp_path).host_bytes == psutil.virtual_memory().total


# ---- disks ---------------------------------------------------------------------------------------


def test_a_hypervisors_disk_is_virtual_whatever_it_says_of_itself(guest: Path) -> None:
    found = read_disk(Path("/"), guest)
    assert (found.device, found.kind, found.filesystem) == ("vda", "virtual disk", "ext4")
    assert read_drives(guest) == (Drive("vda", "virtual disk", None, 256 * GIB),)  # no loop and zram devices


def test_an_encrypted_volume_leads_to_the_drive_it_is_on(laptop: Path) -> None:
    found = read_disk(Path("/"), laptop)
    assert (found.device, found.kind) == ("nvme0n1", "NVMe SSD")
    [drive] = read_drives(laptop)
    assert (drive.model, drive.size_bytes) == ("SAMSUNG MZVLB512HBJQ-000L7", 1000215216 * 512)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("31 30 0:40 / {folder} rw - nfs4 nas.example:/export rw", ("nas.example:/export", "network")),
        ("32 30 0:41 / {folder} rw - tmpfs tmpfs rw", (None, "memory")),
        ("33 30 0:42 / {folder} rw - overlay overlay rw", (None, "overlay")),
        ("34 30 0:43 / {folder} rw - btrfs /dev/nvme0n1p2 rw", ("nvme0n1", "NVMe SSD")),
        ("35 30 8:1 / {folder} rw - ext4 /dev/unheard rw", ("/dev/unheard", None)),
    ],
)
def test_a_filesystem_says_what_it_lies_on(laptop: Path, line: str, expected: tuple[str | None, str | None]) -> None:
    folder = laptop / "quote data"
    folder.mkdir()
    mounts = laptop / "proc/self/mountinfo"
    written = line.format(folder=str(folder.resolve()).replace(" ", "\\040"))
    mounts.write_text(mounts.read_text() + written + "\n")
    found = read_disk(folder, laptop)
    assert (found.device, found.kind) == expected


@pytest.mark.parametrize(("rotational", "kind"), [("1", "hard disk"), ("0", "SSD")])
def test_a_disk_that_turns_is_told_from_one_that_does_not(tmp_path: Path, rotational: str, kind: str) -> None:
    root = plant({"sys/block/sda/size": "2048", "sys/block/sda/queue/rotational": rotational}, tmp_path)
    assert read_drives(root) == (Drive("sda", kind, None, 2**20),)


def test_a_card_in_a_board_is_one(tmp_path: Path) -> None:
    assert read_drives(plant(BOARD, tmp_path)) == (Drive("mmcblk0", "SD card", "SD32G", 62333952 * 512),)


# ---- network -------------------------------------------------------------------------------------


def test_interfaces_have_a_kind_a_state_and_a_speed_if_the_driver_knows_it(guest: Path) -> None:
    assert read_network(guest) == Network(
        (Interface("eth0", "wired", "up", None, 1400), Interface("ifb0", "virtual", "down", None, 1500)),
        (Route("eth0", "192.0.2.1"), Route("eth0", "fd00::1")),
        ("192.0.2.53",),
    )


def test_wireless_is_told_from_wired(laptop: Path) -> None:
    found = read_network(laptop)
    assert {(i.name, i.kind, i.state, i.speed_mbps) for i in found.interfaces} == {
        ("wlp0s20f3", "wireless", "up", None), ("enp0s31f6", "wired", "down", 1000),
    }  # fmt: skip
    assert (found.routes, found.nameservers) == ((), ())


def test_of_two_ways_out_the_preferred_one_comes_first(guest: Path) -> None:
    table = guest / "proc/net/route"
    table.write_text(table.read_text() + "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n")
    assert [r.interface for r in read_network(guest).routes if "." in r.gateway] == ["eth0", "wlan0"]
    assert read_network(guest).routes[1].gateway == "192.168.1.1"


# ---- sensors and system --------------------------------------------------------------------------


def test_a_laptop_tells_of_heat_fans_power_and_screens(laptop: Path) -> None:
    assert read_sensors(laptop) == Sensors(
        # temp3 of the second chip is there and cannot be read
        temperatures=(Temperature("coretemp Package id 0", 51.0, 100.0),),
        fans=(Fan("thinkpad fan1", 2710),),
        # the battery of the mouse is not the machine's
        power=(Power("AC", "mains", "connected", None), Power("BAT0", "battery", "charging", 0.83)),
        screens=(Screen("eDP-1", "1920x1200"),),
    )


def test_a_board_tells_its_temperature_in_a_zone(tmp_path: Path) -> None:
    assert read_sensors(plant(BOARD, tmp_path)).temperatures == (Temperature("cpu-thermal", 48.686),)


def test_an_unplugged_machine_says_so(laptop: Path) -> None:
    (laptop / "sys/class/power_supply/AC/online").write_text("0\n")
    assert read_sensors(laptop).power[0].status == "unplugged"


def test_a_machine_without_sensors_has_none(tmp_path: Path) -> None:
    assert read_sensors(plant(BARE, tmp_path)) == Sensors()


def test_a_guest_of_nobody_known_is_still_a_guest(guest: Path) -> None:
    found = read_host(guest)
    assert (found.virtualization, found.cloud, found.board) == ("virtual machine", None, None)
    assert (found.operating_system, found.kernel) == ("Debian GNU/Linux 12 (bookworm)", "6.18.44-fc")


def test_bare_metal_is_called_none(laptop: Path) -> None:
    found = read_host(laptop)
    assert (found.virtualization, found.cloud, found.board) == ("none", None, "LENOVO 20XW00FPGE")


def test_a_cloud_is_told_by_its_firmware(pod: Path) -> None:
    assert read_cloud(pod) == "Amazon EC2"
    assert read_virtualization(pod) == "kvm"


@pytest.mark.parametrize(
    ("files", "cloud"),
    [
        ({"sys/class/dmi/id/product_name": "Google Compute Engine"}, "Google Compute Engine"),
        ({"sys/class/dmi/id/sys_vendor": "Microsoft Corporation"}, None),
        (
            {
                "sys/class/dmi/id/sys_vendor": "Microsoft Corporation",
                "sys/class/dmi/id/chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77",
            },
            "Microsoft Azure",
        ),
        ({"sys/class/dmi/id/sys_vendor": "Hetzner"}, "Hetzner"),
        ({"run/cloud-init/cloud-id": "oracle"}, "Oracle Cloud"),
        ({"sys/class/dmi/id/sys_vendor": "Dell Inc."}, None),
    ],
)
def test_clouds_are_told_by_firmware_or_cloud_init(tmp_path: Path, files: dict[str, str], cloud: str | None) -> None:
    assert read_cloud(plant(files, tmp_path)) == cloud


@pytest.mark.parametrize(
    ("board", "flags", "expected"),
    [
        ("QEMU", "fpu hypervisor", "qemu"),
        ("Amazon EC2", "fpu hypervisor", "kvm"),
        ("Dell Inc.", "fpu vme", "none"),
        ("Unheard Of", "fpu hypervisor", "virtual machine"),
    ],
)
def test_virtualization_is_told_by_board_and_processor(tmp_path: Path, board: str, flags: str, expected: str) -> None:
    files = {"sys/class/dmi/id/sys_vendor": board, "proc/cpuinfo": f"flags\t\t: {flags}"}
    assert read_virtualization(plant(files, tmp_path)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "lxc"}, "lxc"),
        ({"proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2"}, "wsl"),
        ({"proc/": ""}, None),
    ],
)
def test_a_container_is_named_before_the_machine_it_runs_on(
    tmp_path: Path, files: dict[str, str], expected: str | None
) -> None:
    assert read_virtualization(plant(files, tmp_path)) == expected
