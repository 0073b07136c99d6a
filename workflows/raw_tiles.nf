// Raw tiles of serial-section OCT -> a mosaic grid a slice, how slices lie to each other, which are used. A slice is one task.

include { byContent ; byName ; inParts ; metasOf ; ofRole ; settled ; sourcesAtStart ; unlisted } from './inputs'
include { LIST_FILES } from '../modules/ingest/list_files'
include { LIST_TILES } from '../modules/ingest/list_tiles'
include { ESTIMATE_TILES } from '../modules/transform/estimate_tiles'
include { CREATE_MOSAIC_GRID } from '../modules/transform/create_mosaic_grid'
include { GENERATE_SLICE_CONFIG } from '../modules/ingest/generate_slice_config'
include { GENERATE_AIP } from '../modules/serving/generate_aip'
include { GENERATE_MOSAIC_PREVIEW } from '../modules/serving/generate_mosaic_preview'
include { REPORT } from '../modules/serving/report'

workflow RAW_TILES {
    take:
    options // map of checked parameters

    main:
    found = channel.fromList(sourcesAtStart([input: options.input]))
    LIST_FILES(unlisted(found))
    source = ofRole(settled(found, LIST_FILES.out.listing), 'input').first()

    LIST_TILES(source, options.flags.list_tiles)
    tiles = LIST_TILES.out.tiles
    tables = LIST_TILES.out.tables
    ESTIMATE_TILES(tiles, options.flags.estimate_tiles)
    ESTIMATE_TILES.out.sizes.view { file -> file.text }

    tables_by_id = LIST_TILES.out.of_slices.flatten().map { table -> [table.baseName, byContent(table)] }
    slices = LIST_TILES.out.slices.flatMap { list -> metasOf(list) }.map { meta -> [meta.id, meta] }.join(tables_by_id).map { row -> row.drop(1) }
    CREATE_MOSAIC_GRID(inParts(source), slices, options.flags.create_mosaic_grid)
    grids = CREATE_MOSAIC_GRID.out.volume
    if (options.generate_slice_config) {
        GENERATE_SLICE_CONFIG(tiles, byName(CREATE_MOSAIC_GRID.out.galvo), options.flags.generate_slice_config)
        tables = tables.mix(GENERATE_SLICE_CONFIG.out.tables)
    }

    figures = channel.empty()
    if (options.generate_aips) {
        GENERATE_AIP(grids, options.flags.generate_aip)
        figures = figures.mix(GENERATE_AIP.out.figures)
    }
    if (options.generate_previews) {
        GENERATE_MOSAIC_PREVIEW(grids, options.flags.generate_mosaic_preview)
        figures = figures.mix(GENERATE_MOSAIC_PREVIEW.out.figures)
    }
    REPORT(byName(channel.topic('records')), byName(figures), byName(tables), 'report', options.flags.report)
}
