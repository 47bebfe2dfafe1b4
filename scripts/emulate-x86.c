/* Plays the instructions of AMX and AVX-VNNI that goldcrest uses on an x86-64 processor that lacks them: loaded before a program,
 * it handles the signal of an unknown instruction. Encodings: Intel SDM, volume 2. See emulate-x86.sh. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static __thread struct {
    uint16_t row_bytes[8];
    uint8_t rows[8];
    uint8_t data[8][16][64];
} tiles;

static const int REGISTERS[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void refuse(const char *why) {
    write(2, why, strlen(why));
    signal(SIGILL, SIG_DFL);
    raise(SIGILL);
}

static void multiply(int to, int a, int b) {
    for (int m = 0; m < tiles.rows[to]; m++) {
        for (int n = 0; n < tiles.row_bytes[to] / 4; n++) {
            int32_t sum;
            memcpy(&sum, &tiles.data[to][m][4 * n], 4);
            for (int k = 0; k < tiles.row_bytes[a]; k++) {
                sum += (int8_t)tiles.data[a][m][k] * (int8_t)tiles.data[b][k / 4][4 * n + k % 4];
            }
            memcpy(&tiles.data[to][m][4 * n], &sum, 4);
        }
    }
}

/* Registers as a signal frame keeps them: the low halves of ymm in the old area, the high ones where XSAVE puts them, and a bit
 * that says whether these count or are zero (Intel SDM, volume 1, chapter 13). */
enum { LOW = 160, PARTS_THERE = 512, HIGH = 576, PART_OF_YMM = 4 };

static void read_ymm(const uint8_t *saved, int number, uint8_t *to) {
    memcpy(to, saved + LOW + 16 * number, 16);
    if (saved[PARTS_THERE] & PART_OF_YMM) {
        memcpy(to + 16, saved + HIGH + 16 * number, 16);
    } else {
        memset(to + 16, 0, 16);
    }
}

static void write_ymm(uint8_t *saved, int number, const uint8_t *from) {
    if (!(saved[PARTS_THERE] & PART_OF_YMM)) memset(saved + HIGH, 0, 16 * 16);
    saved[PARTS_THERE] |= PART_OF_YMM;
    memcpy(saved + LOW + 16 * number, from, 16);
    memcpy(saved + HIGH + 16 * number, from + 16, 16);
}

/* vpdpbusd: to each i32 of `to` the products of four unsigned bytes of `a` and four signed ones of `b`. */
static void add_products(uint8_t *saved, int to, int a, int b) {
    uint8_t sums[32], unsigned_bytes[32], signed_bytes[32];
    read_ymm(saved, to, sums);
    read_ymm(saved, a, unsigned_bytes);
    read_ymm(saved, b, signed_bytes);
    for (int n = 0; n < 8; n++) {
        int32_t sum;
        memcpy(&sum, sums + 4 * n, 4);
        for (int k = 4 * n; k < 4 * n + 4; k++) sum += unsigned_bytes[k] * (int8_t)signed_bytes[k];
        memcpy(sums + 4 * n, &sum, 4);
    }
    write_ymm(saved, to, sums);
}

static void play(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    if (code[0] != 0xc4 || (code[1] & 31) != 2) return refuse("not an instruction that is played\n");
    int high_base = !(code[1] >> 5 & 1), high_index = !(code[1] >> 6 & 1), third = ~code[2] >> 3 & 15;
    int prefix = code[2] & 3, operation = code[3], modrm = code[4];
    int mode = modrm >> 6, reg = modrm >> 3 & 7, rm = modrm & 7, length = 5;
    uint64_t address = 0, stride = 0;
    if (mode != 3) {
        int base = rm + 8 * high_base;
        if (rm == 4) {
            int sib = code[length++], index = (sib >> 3 & 7) + 8 * high_index;
            base = (sib & 7) + 8 * high_base;
            if (index != 4) stride = (uint64_t)registers[REGISTERS[index]] << (sib >> 6);
        }
        if (mode == 0 && (base & 7) == 5) return refuse("an address without a base\n");
        address = registers[REGISTERS[base]];
        if (mode == 1) address += (int8_t)code[length++];
        if (mode == 2) {
            int32_t offset;
            memcpy(&offset, code + length, 4);
            address += (int64_t)offset;
            length += 4;
        }
    }
    uint8_t *memory = (uint8_t *)address;
    if (operation == 0x50 && prefix == 1 && mode == 3 && code[2] >> 2 & 1) {
        uint8_t *saved = (uint8_t *)((ucontext_t *)context)->uc_mcontext.fpregs;
        add_products(saved, reg + 8 * !(code[1] >> 7), third, rm + 8 * high_base);
    } else if (operation == 0x49 && prefix == 0 && mode == 3) {
        memset(&tiles, 0, sizeof tiles);
    } else if (operation == 0x49 && prefix == 3 && mode == 3) {
        memset(tiles.data[reg], 0, sizeof tiles.data[reg]);
    } else if (operation == 0x49 && prefix == 0) {
        memset(&tiles, 0, sizeof tiles);
        memory += stride;
        if (memory[0] != 1 || memory[1] != 0) return refuse("not palette 1\n");
        memcpy(tiles.row_bytes, memory + 16, 16);
        memcpy(tiles.rows, memory + 48, 8);
    } else if (operation == 0x4b && prefix == 3) {
        memset(tiles.data[reg], 0, sizeof tiles.data[reg]);
        for (int r = 0; r < tiles.rows[reg]; r++) memcpy(tiles.data[reg][r], memory + r * stride, tiles.row_bytes[reg]);
    } else if (operation == 0x4b && prefix == 2) {
        for (int r = 0; r < tiles.rows[reg]; r++) memcpy(memory + r * stride, tiles.data[reg][r], tiles.row_bytes[reg]);
    } else if (operation == 0x5e && prefix == 3) {
        multiply(reg, rm, third);
    } else {
        return refuse("an instruction that is not played\n");
    }
    registers[REG_RIP] += length;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_sigaction = play, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}
