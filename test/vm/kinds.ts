/**
 * What can run the machine. `uml`: User-Mode Linux, a kernel that is a program.
 * `qemu-kvm`: QEMU with the processor's help. `qemu-tcg`: QEMU without it.
 */
export type Kind = "uml" | "qemu-kvm" | "qemu-tcg";

export const kinds: readonly Kind[] = ["qemu-kvm", "uml", "qemu-tcg"];

export interface Disks {
  /** The folder of the image, which also has QEMU's kernel. */
  readonly image: string;
  /** The root file system, which the machine changes. */
  readonly root: string;
  /** The tests' programs, read-only. */
  readonly share: string;
}

/** Whether a kind needs a kernel in the image. */
export const hasOwnKernel = (kind: Kind): boolean => kind === "uml";

/** Pure: the command that runs a machine of this kind. */
export function commandOf(kind: Kind, disks: Disks): [string, ...string[]] {
  return kind === "uml" ? umlCommand(disks) : qemuCommand(kind, disks);
}

function umlCommand({ root, share }: Disks): [string, ...string[]] {
  return [
    "linux.uml",
    "mem=1024M",
    "root=/dev/ubda",
    "rw",
    `ubd0=${root}`,
    `ubd1r=${share}`,
    "con=null",
    "con0=null,fd:2",
    "ssl0=fd:0,fd:1",
    "agent=ttyS0",
  ];
}

function qemuCommand(kind: Kind, { image, root, share }: Disks): [string, ...string[]] {
  const [accel, cpu] = kind === "qemu-kvm" ? ["kvm", "host"] : ["tcg,thread=multi", "max"];
  const machine = `-machine q35 -accel ${accel} -cpu ${cpu} -smp 2 -m 1024 -rtc base=utc`;
  const bare = "-nodefaults -no-user-config -no-reboot -display none -nic none";
  return [
    "qemu-system-x86_64",
    ...`${machine} ${bare}`.split(" "),
    ...["-kernel", `${image}/vmlinuz`, "-initrd", `${image}/initrd.img`],
    ...["-append", "root=LABEL=root rw console=ttyS0 agent=ttyS1"],
    ...["-drive", `file=${root},if=virtio,format=raw,cache=unsafe`],
    ...["-drive", `file=${share},if=virtio,format=raw,readonly=on`],
    // Chardevs by number: 0 is the console, 1 the agent's port.
    ...["-serial", "file:/dev/stderr", "-serial", "stdio"],
    ...["-device", "virtio-rng-pci"],
  ];
}
