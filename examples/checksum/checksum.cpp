/* Opens checksum.gguf, shows what is in it, multiplies, and prints the checksum of y: see README.md beside this file.
 *
 *     c++ -std=c++17 checksum.cpp $(pkg-config --cflags --libs gguffuse) -o checksum && ./checksum checksum.gguf
 *
 * C++17. Exit code 1 and one line on stderr where anything is wrong. */
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <gguffuse.hpp>

static std::uint64_t checksum(gguffuse::span<const float> y) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const float value : y) {
        std::uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        for (int shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ ((bits >> shift) & 0xff)) * 0x100000001b3;
        }
    }
    return hash;
}

int main(int argc, char **argv) try {
    if (argc != 2) {
        std::fprintf(stderr, "usage: checksum FILE\n");
        return 1;
    }
    const auto file = gguffuse::file::open(argv[1]);
    std::printf("name %s\n", file.get<std::string_view>("general.name").data());
    std::printf("tokens");
    for (const auto token : file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens")) {
        std::printf(" \"%.*s\"", static_cast<int>(token.size()), token.data());
    }
    const auto w = file.find("blk.0.ffn_gate.weight");
    std::printf("\ntensor %s type %" PRIu32 " at byte %" PRIu64 "\n", w.name.data(), w.type, w.absolute_offset);

    const std::size_t m = 1;
    std::vector<float> x(m * w.k()), y(m * w.n());
    for (std::size_t i = 0; i < x.size(); i++) {
        x[i] = static_cast<float>(static_cast<int>(i * 7919 % 2003) - 1001) / 1001.0f;
    }
    gguffuse::context::make().matmul(file, w, x, m, y);
    std::printf("checksum %016" PRIx64 "\n", checksum(y));
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "checksum: %s\n", error.what());
    return 1;
}
