// Tiles of a microscope -> mosaics, by the kind of input.

include { hasPlainTiles ; refuse } from './inputs'
include { PLAIN_TILES } from './plain_tiles'

workflow MOSAIC {
    take:
    options // map of checked parameters

    main:
    if (hasPlainTiles(options)) {
        PLAIN_TILES(options)
    }
    else {
        refuse("--input ${options.input}: no TIFF tiles in it or in its folders, and no CZI")
    }
}
