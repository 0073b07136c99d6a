// Plain tiles (TIFF, CZI) of one or more sections -> their positions, one volume. A section is one task, or many are.

include { allInOrder ; byContent ; byName ; inParts ; inSuperblocks ; joined ; metasOf ; ofRole ; settled ; several ; sourceOf ; sourcesAtStart ; unlisted ; withLevels } from './inputs'
include { LIST_FILES } from '../modules/ingest/list_files'
include { INSPECT_TILES } from '../modules/ingest/inspect_tiles'
include { ESTIMATE_TILES } from '../modules/transform/estimate_tiles'
include { PLACE_TILES } from '../modules/transform/place_tiles'
include { PLAN_MOSAIC } from '../modules/transform/plan_mosaic'
include { STITCH_TILES } from '../modules/transform/stitch_tiles'
include { JOIN } from '../modules/transform/join'
include { PYRAMID } from '../modules/serving/pyramid'
include { MULTISCALE } from '../modules/serving/multiscale'
include { MOSAIC_FIGURES } from '../modules/serving/mosaic_figures'
include { REPORT } from '../modules/serving/report'

workflow PLAIN_TILES {
    take:
    options // map of checked parameters

    main:
    found = channel.fromList(sourcesAtStart([input: options.input]))
    LIST_FILES(unlisted(found))
    source = ofRole(settled(found, LIST_FILES.out.listing), 'input').first()
    positions = channel.value(options.tile_positions ? sourceOf('tile_positions', options.tile_positions)[1] : [])

    INSPECT_TILES(source, positions, options.flags.inspect_tiles)
    tiles = INSPECT_TILES.out.tiles.map { tiling -> byContent(tiling) }
    ESTIMATE_TILES(tiles, options.flags.estimate_tiles)
    ESTIMATE_TILES.out.sizes.view { file -> file.text }
    PLACE_TILES(inParts(source), tiles, INSPECT_TILES.out.sections.flatMap { list -> metasOf(list) }, options.flags.place_tiles)
    placed = allInOrder(PLACE_TILES.out.placed).map { all -> (1..3).collect { n -> all.collect { one -> one[n] } } }
    PLAN_MOSAIC(tiles, INSPECT_TILES.out.sections, placed, options.flags.plan_mosaic)
    mosaic = PLAN_MOSAIC.out.mosaic

    mosaics = PLAN_MOSAIC.out.of_blocks.flatten().map { part -> [part.baseName, byContent(part)] }
    blocks = PLAN_MOSAIC.out.blocks.flatMap { list -> metasOf(list) }.map { meta -> [meta.id, meta] }.join(mosaics).map { row -> row.drop(1) }
    STITCH_TILES(inParts(source), blocks, options.flags.stitch_tiles)
    JOIN(several(STITCH_TILES.out.volume), options.flags.join)
    stitched = joined(STITCH_TILES.out.volume, JOIN.out.volume).map { store, manifest -> ['mosaic', store, manifest, [], []] }
    PYRAMID(inSuperblocks(stitched, PLAN_MOSAIC.out.superblocks, options), options.flags.pyramid)
    MULTISCALE(withLevels(stitched, PLAN_MOSAIC.out.superblocks, PYRAMID.out.levels, options), options.flags.multiscale)

    tables = byName(PLAN_MOSAIC.out.tables)
    MOSAIC_FIGURES(MULTISCALE.out.volume, mosaic, tables, options.flags.mosaic_figures)
    REPORT(byName(channel.topic('records')), byName(MOSAIC_FIGURES.out.figures), tables, 'report', options.flags.report)
}
