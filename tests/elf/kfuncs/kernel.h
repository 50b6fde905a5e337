// Types of the kernel's that several of these programs name.
#pragma once

#include "../src/bpf.h"

#define KSYM SEC(".ksyms")
#define CORE __attribute__((preserve_access_index))

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};
struct bpf_dynptr {
    u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_iter_task {
    u64 opaque[3];
} __attribute__((aligned(8)));
struct bpf_iter_css {
    u64 opaque[3];
} __attribute__((aligned(8)));
struct kernfs_node {
    u64 id;
} CORE;
struct cgroup;
struct css_set {
    struct cgroup* dfl_cgrp;
} CORE;
struct net_device {
    int ifindex;
} CORE;
