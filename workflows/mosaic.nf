// Tiles of a microscope -> mosaics, by the kind of input.

include { hasPlainTiles } from './inputs'
include { PLAIN_TILES } from './plain_tiles'
include { RAW_TILES } from './raw_tiles'

workflow MOSAIC {
    take:
    options // map of checked parameters

    main:
    if (hasPlainTiles(options)) {
        PLAIN_TILES(options)
    }
    else {
        RAW_TILES(options)
    }
}
