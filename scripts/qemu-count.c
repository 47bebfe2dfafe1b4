// Counts the guest instructions of a program under qemu-user: a TCG plugin of API version 1 (qemu 6 to 8), which
// prints the total when the program ends. With `blocks=FILE` it also writes each straight piece of code that ran, a line
// each: how often, its address, and its bytes. Declared here, because Debian ships qemu without its plugin header.
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct block;
struct instruction;

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int operation, void *counter, uint64_t amount);
extern size_t qemu_plugin_tb_n_insns(const struct block *);
extern struct instruction *qemu_plugin_tb_get_insn(const struct block *, size_t);
extern uint64_t qemu_plugin_tb_vaddr(const struct block *);
extern const void *qemu_plugin_insn_data(const struct instruction *);

#define EXPORTED __attribute__((visibility("default")))
EXPORTED int qemu_plugin_version = 1;

enum { ADD = 0 };
static uint64_t instructions;

// A piece of code is translated anew now and then: whoever reads the file adds up those of the same bytes.
struct piece {
    struct piece *next;
    uint64_t count, address;
    size_t length;
    uint32_t code[];
};
static struct piece *pieces;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *file;

static void translated(plugin_id id, struct block *block) {
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &instructions, length);
    if (!file) return;
    struct piece *piece = calloc(1, sizeof *piece + length * sizeof *piece->code);
    if (!piece) abort();
    piece->length = length;
    piece->address = qemu_plugin_tb_vaddr(block);
    for (size_t i = 0; i < length; i++)
        memcpy(&piece->code[i], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof *piece->code);
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &piece->count, 1);
    pthread_mutex_lock(&lock);
    piece->next = pieces;
    pieces = piece;
    pthread_mutex_unlock(&lock);
}

static void ended(plugin_id id, void *unused) {
    (void)id, (void)unused;
    fprintf(stderr, "instructions=%llu\n", (unsigned long long)instructions);
    FILE *out = file ? fopen(file, "w") : NULL;
    for (const struct piece *piece = out ? pieces : NULL; piece; piece = piece->next) {
        if (!piece->count) continue;
        fprintf(out, "%llu %llx ", (unsigned long long)piece->count, (unsigned long long)piece->address);
        for (size_t i = 0; i < piece->length; i++) fprintf(out, "%08x", piece->code[i]);
        fputc('\n', out);
    }
    if (out) fclose(out);
}

EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "blocks=", 7)) file = strdup(argv[i] + 7);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
